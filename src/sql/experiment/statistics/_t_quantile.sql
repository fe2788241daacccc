create or replace function experiment._t_quantile(p float8, degrees float8)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_z float8;
begin
  if degrees <= 1e4 or (degrees <= 1e8 and least(p, 1 - p) < 1e-12) then
    return ml.students_t_quantile(p, degrees);
  end if;
  -- the expansion in 1 / degrees (Abramowitz and Stegun 26.7.5): to about 14 digits, at a fraction of the time
  v_z := ml.normal_quantile(p);
  return v_z + (
    (v_z ^ 3 + v_z) / 4
    + ((5 * v_z ^ 5 + 16 * v_z ^ 3 + 3 * v_z) / 96
      + (3 * v_z ^ 7 + 19 * v_z ^ 5 + 17 * v_z ^ 3 - 15 * v_z) / 384 / degrees) / degrees
  ) / degrees;
end;
$$;

comment on function experiment._t_quantile(float8, float8) is $$
Returns the quantile of Student's t for any number of degrees of freedom above 0.01.
$$;

grant execute on function experiment._t_quantile(float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
