create or replace function analytics._days_of(period text)
returns int
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select substring(period from '^[0-9]+')::int * case when period like '%week%' then 7 else 1 end;
$$;

comment on function analytics._days_of(text) is $$
Returns the number of days of a period such as `28 days` or `4 weeks`.
$$;

grant execute on function analytics._days_of(text) to insights_reader;
