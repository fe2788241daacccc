/*
 * Bounds that keep an expression below 0.1 s: PostgreSQL builds the automaton before it reads the text, and each
 * character of the text may visit all of it. An assertion is evaluated at each position, up to the end of the text.
 */
create or replace function experiment._check_regex(pattern text, regex text, text_length int)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_work record;
begin
  -- Few parts that may be missing cannot exceed the bounds.
  if text_length <= 1000
    and length(pattern) <= 100
    and regex !~ '\(\?<?[=!]|\{'
    and regexp_count(regex, '[^(]\?|[*+]|\\[yY]') <= 5
  then
    return;
  end if;
  select work.arcs, work.states, work.assertions, work.depth
  into v_work
  from experiment._regex_work(regex) as work;
  if v_work.states > 2000 then
    perform experiment._refuse_regex(pattern, 'is too complex with its repetitions');
  elsif v_work.arcs > 10000 then
    perform experiment._refuse_regex(pattern, 'is too complex: many parts in a row may match without a character');
  elsif (v_work.states + v_work.arcs) * text_length > 2e7 then
    perform experiment._refuse_regex(pattern, format('is too complex for a text of %s characters', text_length));
  elsif v_work.assertions * text_length ^ (least(v_work.depth, 3) + 1) > 1e8 then
    perform experiment._refuse_regex(
      pattern, format('is too complex with its assertions for a text of %s characters', text_length)
    );
  end if;
end;
$$;

comment on function experiment._check_regex(text, text, integer) is $$
@behavior -*
Raises CF008 for a regular expression whose automaton is too large, or too large for the length of the text.
$$;

grant execute on function experiment._check_regex(text, text, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._matches(value text, pattern text, insensitive boolean)
returns boolean
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_regex text;
  v_value text;
begin
  if length(_matches.pattern) > 1000 then
    perform experiment._refuse_regex(_matches.pattern, 'has more than 1000 characters');
  end if;
  -- A pattern of plain characters needs no translation.
  if not _matches.insensitive and _matches.pattern ~ '^\^?[A-Za-z0-9 _/@:;,&=%#-]*\$?$' then
    return _matches.value ~ _matches.pattern collate "C";
  end if;
  v_regex := experiment._regex(_matches.pattern, _matches.insensitive);
  if v_regex is null then
    return false;
  end if;
  perform experiment._check_regex(_matches.pattern, v_regex, length(_matches.value));
  v_value := experiment._units(_matches.value);
  if _matches.insensitive then
    v_value := experiment._canonical(v_value);
  end if;
  return v_value ~ v_regex collate "C";
end;
$$;

comment on function experiment._matches(text, text, boolean) is $$
Returns whether a text matches a regular expression of JavaScript; one that JavaScript does not accept matches nothing.
PostgreSQL's automata need no backtracking: the work is the size of the automaton times the length of the text, and the
square of the length for an assertion such as `(?=…)`. Both are bounded before: CF008.
$$;

grant execute on function experiment._matches(text, text, boolean)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
