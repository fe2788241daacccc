create or replace function common.duration_bucket(seconds float8)
returns int
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return width_bucket(seconds, common.duration_bounds()) + 1 - (seconds = any (common.duration_bounds()))::int;
end;
$$;

comment on function common.duration_bucket(float8) is $$
Returns the number of the bucket in which a duration is counted, from 1 to 38: of the first bound that is not below it.
See `common.duration_bounds`.
$$;

grant execute on function common.duration_bucket(float8) to insights_reader, insights_admin, insights_worker;
