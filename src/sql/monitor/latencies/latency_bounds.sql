create or replace function monitor.latency_bounds()
returns float8[]
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select array_agg(0.0005 * power(2, step / 2.0) order by step)
  from generate_series(0, 36) as step
$$;

comment on function monitor.latency_bounds() is $$
@behavior -*
Returns the upper bounds of the buckets of `monitor.latency.counts`, in seconds: 37 from half a millisecond to 131 s.
Each is √2 times the one before. The count after the last bound is of longer calls.
$$;

grant execute on function monitor.latency_bounds() to insights_admin, insights_worker;
