create or replace function experiment._check_p_values(p_values float8[])
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_value float8;
begin
  if p_values is null or array_ndims(p_values) > 1 or cardinality(p_values) > 10000 then
    perform common.refuse('CF001', format('there are %s p-values', coalesce(cardinality(p_values)::text, 'no')),
      'Give an array of one dimension with at most 10000 p-values.');
  end if;
  foreach v_value in array p_values loop
    if not (v_value >= 0 and v_value <= 1) then
      perform common.refuse('CF001', format('a p-value is %s', v_value), 'Give numbers from 0 to 1.');
    end if;
  end loop;
end;
$$;

comment on function experiment._check_p_values(float8[]) is $$
Raises CF001 unless all are p-values; null is allowed.
$$;

grant execute on function experiment._check_p_values(float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
