create or replace function analytics._is_time(value text)
returns boolean
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
as $$
begin
  return isfinite(value::timestamptz);
exception
  when data_exception then
    return false;
end;
$$;

comment on function analytics._is_time(text) is $$Returns whether a text is a time that exists.$$;

/* Checks the value of one key of a condition. */
create or replace function analytics._check_rule_value(kind text, name text, value jsonb, path text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
as $$
declare
  v_type constant text := jsonb_typeof(value);
  v_text constant text := case when v_type = 'string' then value #>> '{}' end;
  v_expected text;
begin
  v_expected := case
    when name in ('is', 'is_not') then
      case when v_type not in ('string', 'number', 'boolean') then 'a string, a number, true or false' end
    when name = 'in' then
      case
        when v_type <> 'array' then 'a list of strings, numbers, true or false'
        when jsonb_array_length(value) not between 1 and 1000 then 'a list of 1 to 1000 values'
        when exists (
          select
          from jsonb_array_elements(value) as entry
          where jsonb_typeof(entry) not in ('string', 'number', 'boolean')
        ) then 'a list of strings, numbers, true or false'
      end
    when name in ('greater', 'less', 'above', 'below') then case when v_type <> 'number' then 'a number' end
    when name in ('is_set', 'first') then case when v_type <> 'boolean' then 'true or false' end
    when name = 'counted' then case when coalesce(v_text, '') not in ('times', 'days') then '"times" or "days"' end
    when name = 'status' then
      case
        when coalesce(v_text, '') not in ('active', 'completed', 'dropped') then '"active", "completed" or "dropped"'
      end
    when name in ('at_least', 'at_most', 'exactly') then
      case
        when v_type <> 'number' or value::text !~ '^[0-9]{1,7}$' then 'a whole number from 0 to 9999999'
        when name = 'at_least' and value::text = '0' then 'a whole number from 1, because 0 is true of all people'
      end
    when name in ('within', 'older_than') then
      case
        when coalesce(v_text, '') !~ '^[1-9][0-9]{0,3} (days?|weeks?)$' then 'a number of days or weeks: "28 days"'
      end
    when name in ('since', 'until') then
      case
        when coalesce(v_text, '') !~ '^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d))?$'
          or not analytics._is_time(v_text)
          then 'a time with its zone, or a day (UTC): "2026-02-28T09:30:00Z", "2026-02-28"'
      end
    when name = 'property' then
      case
        when v_type <> 'object'
          or array(select key from jsonb_object_keys(value) as key order by key) <> '{is,name}'
          or jsonb_typeof(value -> 'name') <> 'string'
          or length(value ->> 'name') not between 1 and 200
          or jsonb_typeof(value -> 'is') not in ('string', 'number', 'boolean')
          then '{"name": a string, "is": a string, a number, true or false}'
      end
    when name = 'event' then
      case when v_type not in ('string', 'null') then 'the name of an event, or null for any that is not automatic' end
    when v_type <> 'string' or length(v_text) not between 1 and 512 then 'a string of 1 to 512 characters'
  end;
  if v_expected is not null then
    perform common.refuse(
      'CF001', format('%s.%s is %s', path, name, left(value::text, 100)), format('Give %s.', v_expected)
    );
  end if;

  -- Names must exist. Each of these functions names the nearest one in its error.
  case
    when name = 'event' then perform analytics._event_type_id(v_text);
    when name in ('item', 'enrolment') or kind = 'prediction' and name = 'course' then
      perform analytics._item_id(v_text);
    when name = 'prediction' then perform analytics._prediction_target(v_text);
    when name = 'set' then
      perform track.person_set_size(v_text);
      perform analytics._check_sets(array[v_text]);
    when name = 'trait' and length(v_text) > 100 then
      perform common.refuse(
        'CF008', format('the name of a trait has %s characters', length(v_text)), 'It has 100 at most.'
      );
    else null;
  end case;
end;
$$;

comment on function analytics._check_rule_value(text, text, jsonb, text) is $$
Raises an error for an invalid value of a key of a condition, or a name that does not exist (names the nearest).
$$;

create or replace function analytics._check_rule(rule jsonb, path text default 'rule', depth int default 1)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kinds constant text[] := '{all,any,not,trait,event,enrolment,prediction,set}';
  v_kind text;
  v_known text[];
  v_unknown text;
  v_entry record;
begin
  if depth > 10 then
    perform common.refuse('CF008', format('%s has more than 10 levels', left(path, 100)), 'Use fewer levels.');
  end if;
  if rule is null or jsonb_typeof(rule) <> 'object' then
    perform common.refuse(
      'CF001',
      format('%s is %s', left(path, 100), coalesce(left(rule::text, 100), 'null')),
      'Give a JSON object with one of the keys all, any, not, trait, event, enrolment, prediction and set.'
    );
  end if;

  select min(entry.key) into v_kind from jsonb_object_keys(rule) as entry (key) where entry.key = any (v_kinds);
  if v_kind is null or (select count(*) from jsonb_object_keys(rule) as key where key = any (v_kinds)) > 1 then
    perform common.refuse(
      'CF001',
      format('%s is %s', left(path, 100), left(rule::text, 100)),
      coalesce(
        'Did you mean "' || (
          select min(common.nearest_name(entry.key, v_kinds))
          from (select key from jsonb_object_keys(rule) as key order by key limit 20) as entry
          where v_kind is null
        ) || '"? ',
        ''
      ) || 'A condition has exactly one of the keys all, any, not, trait, event, enrolment, prediction and set.'
    );
  end if;

  v_known := v_kind || case v_kind
    when 'trait' then '{is,is_not,in,contains,greater,less,is_set}'::text[]
    when 'event' then
      '{item,property,counted,at_least,at_most,exactly,within,older_than,since,until,first}'::text[]
    when 'enrolment' then '{status}'::text[]
    when 'prediction' then '{course,above,below}'::text[]
    else '{}'
  end;
  select entry.key into v_unknown
  from jsonb_object_keys(rule) as entry (key)
  where entry.key <> all (v_known)
  order by entry.key
  limit 1;
  if found then
    perform common.refuse(
      'CF001',
      format('%s has the unknown key "%s"', left(path, 100), left(v_unknown, 100)),
      coalesce('Did you mean "' || common.nearest_name(v_unknown, v_known) || '"?',
        format(
          'Beside "%s" it can have %s.', v_kind, coalesce(nullif(array_to_string(v_known[2:], ', '), ''), 'no key')
        )
      )
    );
  end if;

  if v_kind in ('all', 'any') then
    if jsonb_typeof(rule -> v_kind) <> 'array' or jsonb_array_length(rule -> v_kind) = 0 then
      perform common.refuse(
        'CF001', format('%s.%s is %s', left(path, 100), v_kind, left((rule -> v_kind)::text, 100)),
        'Give a list of one or more conditions.'
      );
    end if;
    for v_entry in select * from jsonb_array_elements(rule -> v_kind) with ordinality as entry (value, position) loop
      perform analytics._check_rule(
        v_entry.value, format('%s.%s[%s]', path, v_kind, v_entry.position - 1), depth + 1
      );
    end loop;
    return;
  elsif v_kind = 'not' then
    perform analytics._check_rule(rule -> 'not', path || '.not', depth + 1);
    return;
  end if;

  for v_entry in select * from jsonb_each(rule) as entry (key, value) order by entry.key loop
    perform analytics._check_rule_value(v_kind, v_entry.key, v_entry.value, left(path, 100));
  end loop;
  perform analytics._check_rule_keys(v_kind, rule, left(path, 100));
end;
$$;

comment on function analytics._check_rule(jsonb, text, int) is $$
Raises an error for a rule that is invalid: see `analytics.define_cohort`. `path`: its place in the whole rule.
$$;

/* Checks which keys of a condition go together. */
create or replace function analytics._check_rule_keys(kind text, rule jsonb, path text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_keys constant text[] := array(select key from jsonb_object_keys(rule) as key);
  v_tests constant text[] := array(
    select key from unnest(v_keys) as key where key = any ('{is,is_not,in,contains,greater,less,is_set}')
  );
  v_window record;
  v_problem text;
begin
  if kind = 'trait' then
    v_problem := case
      when cardinality(v_tests) = 0 or cardinality(v_tests) > 1 and not v_tests <@ '{greater,less}'
        then 'Give one of is, is_not, in, contains, greater, less and is_set, or greater and less.'
    end;
  elsif kind = 'prediction' then
    v_problem := case when not v_keys && '{above,below}' then 'Give above, below or both.' end;
  elsif kind = 'event' then
    v_window := analytics._rule_window(rule, '2020-01-01', 'infinity');
    v_problem := case
      when v_keys && '{exactly}' and v_keys && '{at_least,at_most}'
        then 'Give exactly, or at_least and at_most.'
      when (rule ->> 'at_least')::int > (rule ->> 'at_most')::int then 'Give an at_most that is not below at_least.'
      when v_keys && '{within,older_than}' and v_keys && '{since,until}'
        then 'Give days (within, older_than) or times (since, until), not both.'
      when v_window.since >= v_window.until then 'Give a period that ends after it begins.'
      when coalesce((rule ->> 'first')::boolean, false) and v_keys && '{at_least,at_most,exactly,counted}'
        then 'The first event has no number: leave out at_least, at_most, exactly and counted.'
      when coalesce((rule ->> 'first')::boolean, false) and not v_keys && '{within,older_than,since,until}'
        then 'Give the period of the first event: within, older_than, since or until.'
    end;
  end if;
  if v_problem is not null then
    perform common.refuse('CF001', format('%s is %s', path, left(rule::text, 100)), v_problem);
  end if;
end;
$$;

comment on function analytics._check_rule_keys(text, jsonb, text) is $$
Raises CF001 for keys of a condition that exclude each other, or that are missing.
$$;
