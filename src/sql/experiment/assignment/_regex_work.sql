-- 1e9 is far above each bound, and far below the largest number.
create or replace function experiment._regex_sequence(part experiment.regex_part, other experiment.regex_part)
returns experiment.regex_part
language sql
immutable
parallel safe
begin atomic
  select row(
    least(part.ways * other.ways, 1e9),
    least(greatest(part.first_ways, part.ways * other.first_ways), 1e9),
    least(part.first_arcs + case when part.ways > 0 then other.first_arcs else 0 end, 1e9),
    least(greatest(other.last_ways, other.ways * part.last_ways), 1e9),
    least(other.last_states + case when other.ways > 0 then part.last_states else 0 end, 1e9),
    least(part.arcs + other.arcs + part.last_ways * other.first_ways * part.last_states * other.first_arcs, 1e9),
    least(part.states + other.states, 1e9)
  )::experiment.regex_part;
end;

comment on function experiment._regex_sequence(experiment.regex_part, experiment.regex_part) is $$
@behavior -*
Returns the size of a part of a regular expression that is followed by another.
$$;

grant execute on function experiment._regex_sequence(experiment.regex_part, experiment.regex_part)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._regex_choice(part experiment.regex_part, other experiment.regex_part)
returns experiment.regex_part
language sql
immutable
parallel safe
begin atomic
  select row(
    part.ways + other.ways,
    greatest(part.first_ways, other.first_ways, part.ways + other.ways),
    part.first_arcs + other.first_arcs,
    greatest(part.last_ways, other.last_ways, part.ways + other.ways),
    -- The ends of both are one state.
    greatest(part.last_states + other.last_states - 1, part.last_states, other.last_states),
    part.arcs + other.arcs,
    part.states + other.states
  )::experiment.regex_part;
end;

comment on function experiment._regex_choice(experiment.regex_part, experiment.regex_part) is $$
@behavior -*
Returns the size of two alternatives of a regular expression.
$$;

grant execute on function experiment._regex_choice(experiment.regex_part, experiment.regex_part)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

-- A loop is left after any number of rounds: two of them find each pair of neighbours.
create or replace function experiment._regex_loop(part experiment.regex_part)
returns experiment.regex_part
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_twice experiment.regex_part := experiment._regex_sequence(part, part);
begin
  v_twice.arcs := greatest(part.arcs, v_twice.arcs - part.arcs);
  v_twice.states := part.states;
  v_twice.first_arcs := part.first_arcs;
  v_twice.last_states := part.last_states;
  return v_twice;
end;
$$;

comment on function experiment._regex_loop(experiment.regex_part) is $$
@behavior -*
Returns the size of a part of a regular expression that is repeated without an upper bound.
$$;

grant execute on function experiment._regex_loop(experiment.regex_part)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

/*
 * The number of copies is doubled, so that the work grows with its logarithm.
 */
create or replace function experiment._regex_copies(part experiment.regex_part, copies int)
returns experiment.regex_part
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result experiment.regex_part := row(1, 1, 0, 1, 0, 0, 0);
  v_power experiment.regex_part := part;
  v_left int := copies;
begin
  while v_left > 0 loop
    if v_left % 2 = 1 then
      v_result := experiment._regex_sequence(v_result, v_power);
    end if;
    v_left := v_left / 2;
    exit when v_left = 0;
    v_power := experiment._regex_sequence(v_power, v_power);
  end loop;
  return v_result;
end;
$$;

comment on function experiment._regex_copies(experiment.regex_part, integer) is $$
@behavior -*
Returns the size of a part of a regular expression that is repeated a number of times.
$$;

grant execute on function experiment._regex_copies(experiment.regex_part, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._regex_repeated(part experiment.regex_part, quantifier text)
returns experiment.regex_part
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_bounds constant text[] := regexp_match(quantifier, '^\{([0-9]+)(,?)([0-9]*)\}$');
  v_low constant int := coalesce(v_bounds[1]::int, case when quantifier = '+' then 1 else 0 end);
  v_high constant int := case
    when quantifier = '?' then 1
    when v_bounds[2] = '' then v_low
    when v_bounds[3] <> '' then v_bounds[3]::int
  end;
  v_optional experiment.regex_part := case when v_high is null then experiment._regex_loop(part) else part end;
begin
  if v_high is null and v_low > 0 then
    return experiment._regex_sequence(experiment._regex_copies(part, v_low - 1), v_optional);
  end if;
  v_optional.ways := 1 + case when v_optional.ways > 1 then v_optional.ways else 0 end;
  v_optional.first_ways := greatest(v_optional.first_ways, v_optional.ways);
  v_optional.last_ways := greatest(v_optional.last_ways, v_optional.ways);
  return experiment._regex_sequence(
    experiment._regex_copies(part, v_low),
    experiment._regex_copies(v_optional, coalesce(v_high - v_low, 1))
  );
end;
$$;

comment on function experiment._regex_repeated(experiment.regex_part, text) is $$
@behavior -*
Returns the size of a part of a regular expression with a quantifier, such as `*` or `{2,5}`.
$$;

grant execute on function experiment._regex_repeated(experiment.regex_part, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

/*
 * PostgreSQL's automaton has an arc for each pair of characters that can follow each other (as Glushkov's), and one
 * more for each combination of boundaries between them. A word boundary is two: a word before it, or after it.
 */
create or replace function experiment._regex_work(
  regex text, out arcs float8, out states float8, out assertions int, out depth int
)
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_empty constant experiment.regex_part := row(1, 1, 0, 1, 0, 0, 0);
  v_tokens constant text[] := array(
    select token.parts[1]
    from regexp_matches(
      _regex_work.regex,
      '(\(\?<?[:=!]|[()|^$]|\\[yY]|\[[^]]*\]|[*+?]|\{[0-9]+(?:,[0-9]*)?\}|[A-Za-z0-9_ ]+(?![*+?{])|.)', 'g'
    ) as token (parts)
  );
  v_colours float8;
  v_token text;
  v_done experiment.regex_part := v_empty;
  v_last experiment.regex_part := v_empty;
  v_choice experiment.regex_part;
  v_open text[] := '{}';
  v_outer experiment.regex_part[] := '{}';
  v_choices experiment.regex_part[] := '{}';
begin
  _regex_work.assertions := 0;
  _regex_work.depth := 0;
  -- Characters that each part of the expression treats alike have one arc.
  select least(
    count(*) filter (where token not like '[%') + 2.0 ^ least(count(*) filter (where token like '[%'), 30),
    1 + sum(1 + length(token) - length(replace(token, '-', ''))) * 2
  )
  into v_colours
  from (
    select distinct letter
    from unnest(v_tokens) as word (word)
    cross join unnest(string_to_array(word.word, case when word.word like '[%' then ']' end)) as letter
    where word.word ~ '^[[A-Za-z0-9_ ]'
      and letter <> ''
  ) as letter (token);

  foreach v_token in array v_tokens || ')'::text loop
    if v_token ~ '^[*+?{]' then
      v_last := experiment._regex_repeated(v_last, v_token);
      continue;
    end if;
    v_done := experiment._regex_sequence(v_done, v_last);
    v_last := v_empty;
    case
      when starts_with(v_token, '(') then
        v_open := v_open || v_token;
        v_outer := v_outer || v_done;
        v_choices := v_choices || v_choice;
        v_done := v_empty;
        v_choice := null;
        if v_token <> '(?:' then
          _regex_work.assertions := _regex_work.assertions + 1;
          _regex_work.depth := greatest(
            _regex_work.depth, cardinality(v_open) - cardinality(array_positions(v_open, '(?:'))
          );
        end if;
      when v_token in ('|', ')') then
        v_choice := case when v_choice is null then v_done else experiment._regex_choice(v_choice, v_done) end;
        v_done := v_empty;
        continue when v_token = '|' or cardinality(v_open) = 0;
        v_last := v_choice;
        if v_open[cardinality(v_open)] <> '(?:' then
          v_last := row(1.25, 1.25, 1, 1.25, 1, v_last.arcs, v_last.states);
        end if;
        v_last.states := greatest(v_last.states, 1);
        v_done := v_outer[cardinality(v_outer)];
        v_choice := v_choices[cardinality(v_choices)];
        v_open := trim_array(v_open, 1);
        v_outer := trim_array(v_outer, 1);
        v_choices := trim_array(v_choices, 1);
      when v_token in ('^', '$') then
        v_last := row(1.25, 1.25, 1, 1.25, 1, 0, 1);
      when v_token in ('\y', '\Y') then
        v_last := row(2, 2, v_colours, 2, 1, 0, 1);
      else
        v_last := row(
          0, 1, case when v_token like '[%' then v_colours else 1 end, 1, 1,
          case when v_token like '[%' then 0 else length(v_token) - 1 end,
          case when v_token like '[%' then 1 else length(v_token) end
        );
    end case;
  end loop;
  _regex_work.arcs := v_choice.arcs;
  _regex_work.states := v_choice.states;
end;
$$;

comment on function experiment._regex_work(text) is $$
@behavior -*
Returns how large the automaton of a regular expression of `experiment._regex` becomes, without making it.
`arcs`: pairs of characters that can follow each other, times the combinations of boundaries between them.
`states`: characters, boundaries and groups with their repetitions. `assertions`: their number,
and `depth`: how deep they are nested.
$$;

grant execute on function experiment._regex_work(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
