create or replace function ml._check_order(value float8, previous float8, ordering text)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if value = 'NaN' then
    perform common.refuse('CF001', 'a value is NaN', 'Leave out the row, or set its value to null.');
  elsif value < previous then
    perform common.refuse('CF001', format('the value %s comes after %s', value, previous),
      format('The rows are needed in ascending order: add "order by %s" to the arguments of the aggregate.', ordering));
  end if;
end;
$$;

comment on function ml._check_order(float8, float8, text) is $$
Error CF001 for NaN, and for a value below the previous one. `ordering`: what the hint states.
$$;

grant execute on function ml._check_order(float8, float8, text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
