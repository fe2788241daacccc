create or replace function analytics._rule_sets(rule jsonb)
returns setof text
language sql
immutable
parallel safe
rows 5
set search_path to pg_catalog, pg_temp
as $$
  select found.value #>> '{}'
  from jsonb_path_query(rule, 'strict $.** ? (exists (@.set)).set') as found (value);
$$;

comment on function analytics._rule_sets(jsonb) is $$Returns the sets of people that a rule names, with repetitions.$$;

grant execute on function analytics._rule_sets(jsonb) to insights_reader;
