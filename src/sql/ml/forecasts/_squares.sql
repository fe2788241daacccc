create or replace function ml._squares(
  errors float8[]
)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_error float8;
  v_sum float8 := case when errors is not null then 0 end;
begin
  foreach v_error in array coalesce(errors, '{}') loop
    if v_error is not null and abs(v_error) > 1e-140 then
      v_sum := v_sum + v_error * v_error;
    end if;
  end loop;
  return v_sum;
end;
$$;

comment on function ml._squares(float8[]) is $$
Returns the sum of the squares of the values that are not null; null for a null array.
$$;
