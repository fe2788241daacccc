create or replace function common.duration_bounds()
returns float8[]
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  -- A product with a power of two is exact: the bounds of the API are the same numbers.
  select
    array_agg(0.0005::float8 * case step % 2 when 0 then 1 else sqrt(2::float8) end * (1 << step / 2) order by step)
  from generate_series(0, 36) as step
$$;

comment on function common.duration_bounds() is $$
Returns the bounds of the buckets in which durations are counted, in seconds: 37 from half a millisecond to 131 s.
Each is √2 times the one before. A histogram has 38 counts: a duration is counted at the first bound that is not below
it, as in Prometheus; the last count is of those above all bounds. See `common.duration_bucket`.
$$;

grant execute on function common.duration_bounds() to insights_reader, insights_admin, insights_worker;
