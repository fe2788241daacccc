create or replace function ml._check_magnitude(value float8)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if abs(value) <= 1e100 then
    return;
  end if;
  perform common.refuse('CF001', format('a value is %s', value),
    'The test takes finite numbers of at most 1e100 in absolute value: leave out the row, or set its value to null.');
end;
$$;

comment on function ml._check_magnitude(float8) is $$
Error CF001 for NaN, infinity and values above 1e100 in absolute value, whose squares and cubes are out of range.
$$;

grant execute on function ml._check_magnitude(float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
