create or replace function ml.students_t_quantile(p float8, nu float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_tail constant float8 := least(p, 1 - p);
  v_low float8 := 0;
  v_high float8 := 1;
  v_t float8;
  v_density float8;
  v_error float8;
  v_next float8;
begin
  if not p > 1e-300 or not p < 1 or not nu > 0.01 or nu > 1e9 then
    perform common.refuse('CF001', format('there is no quantile of Student''s t for p = %s and nu = %s', p, nu),
      'Give p above 1e-300 and below 1, and nu above 0.01 and at most 1e9.');
  end if;
  if p = 0.5 then
    return 0;
  end if;
  while ml._students_t_p_value(v_high, nu) / 2 > v_tail and v_high < 1e100 loop
    v_low := v_high;
    v_high := v_high * 4;
  end loop;
  v_t := (v_low + v_high) / 2;
  -- Newton's method within a bracket, which a step cannot leave; it converges quadratically
  for step in 1..200 loop
    v_error := ml._students_t_p_value(v_t, nu) / 2 - v_tail;
    if v_error > 0 then
      v_low := v_t;
    else
      v_high := v_t;
    end if;
    v_density := exp(-(nu + 1) / 2 * ml._log1p(v_t * v_t / nu) - ml._log_beta(nu / 2, 0.5)) / sqrt(nu);
    v_next := v_t + v_error / v_density;
    if not (v_next > v_low and v_next < v_high) then
      v_next := (v_low + v_high) / 2;
    end if;
    exit when abs(v_next - v_t) <= 1e-15 * v_t;
    v_t := v_next;
  end loop;
  return case when p < 0.5 then -v_t else v_t end;
end
$$;

comment on function ml.students_t_quantile(float8, float8) is $$
Returns the quantile of Student's t with nu degrees of freedom, to about 13 digits.
For p = 0.975 it is half the width of a 95 % confidence interval in standard errors.
Error CF001 unless 1e-300 < p < 1 and 0.01 < nu <= 1e9.
$$;

grant execute on function ml.students_t_quantile(float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
