create or replace function common.duration_bounds()
returns float8[]
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select array_agg(0.0005 * power(2, step / 2.0) order by step)
  from generate_series(0, 36) as step
$$;

comment on function common.duration_bounds() is $$
Returns the bounds of the buckets in which durations are counted, in seconds: 37 from half a millisecond to 131 s.
Each is √2 times the one before. A histogram has 38 counts: those below the first bound, between two bounds, and of at
least the last one.
$$;

grant execute on function common.duration_bounds() to insights_reader, insights_admin, insights_worker;
