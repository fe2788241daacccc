create or replace function ml.students_t_cdf(x float8, nu float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_x constant float8 := ml._finite_range(x);
  v_p_value float8;
begin
  if v_x = 'NaN' or nu = 'NaN' then
    return 'NaN';
  end if;
  if nu > 1e15 then
    return ml.normal_cdf(v_x);
  end if;
  perform ml._check_degrees(nu, 1e15);
  v_p_value := ml._students_t_p_value(v_x, greatest(nu, 1e-100));
  return case when v_x < 0 then v_p_value / 2 else 1 - v_p_value / 2 end;
end;
$$;

comment on function ml.students_t_cdf(float8, float8) is $$
Returns Student's t distribution function at x with nu > 0 degrees of freedom.
`nu` need not be an integer; above 1e15, the distribution is the normal one. Error CF001 unless it is above 0.
By the incomplete beta function.
$$;

grant execute on function ml.students_t_cdf(float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
