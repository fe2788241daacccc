create or replace function ml._weight_unit(relation regclass)
returns float8
language plpgsql
stable
set search_path from current
as $$
declare
  v_greatest float8;
begin
  execute format('select max(weight) from %s', relation) into v_greatest;
  return case when v_greatest > 0 then 2::float8 ^ (2 * ceil(log(2, v_greatest::numeric)) - 60) else 1 end;
end;
$$;

comment on function ml._weight_unit(regclass) is $$
Returns the unit in which products of two weights of coded interactions are added as whole numbers.
Such a sum does not depend on the order of the rows, as a sum of floating-point numbers would. The unit is the greatest
product divided by 2^60 or a little less, so that the rounding is that of double precision.
$$;

grant execute on function ml._weight_unit(regclass) to insights_analyst, insights_admin, insights_worker;
