create or replace function ml._incomplete_gamma(a float8, x float8, upper_tail boolean)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_log float8;
  v_sum float8;
  v_term float8;
  v_n float8;
  v_b float8;
  v_c float8;
  v_d float8;
  v_lower boolean := x < a + 1;
begin
  if x <= 0 then
    return case when upper_tail then 1 else 0 end;
  end if;
  if a >= 10 then
    -- a ln x - x - ln gamma(a), expanded around its peak, where the three terms cancel
    v_log := -a * ((x - a) / a - case when abs((x - a) / a) < 0.5 then ml._log1p((x - a) / a) else ln(x / a) end)
      - ml._log_gamma_correction(a) - 0.918938533204672741780329736406 + 0.5 * ln(a);
  else
    v_log := a * ln(x) - x - ml._log_gamma(a);
  end if;
  if v_log < -700 then
    return case when v_lower = upper_tail then 1 else 0 end;
  end if;
  if v_lower then
    v_n := a;
    v_term := 1 / a;
    v_sum := v_term;
    for i in 1..20000 loop
      v_n := v_n + 1;
      v_term := v_term * x / v_n;
      v_sum := v_sum + v_term;
      exit when v_term < v_sum * 1e-17;
    end loop;
    v_sum := v_sum * exp(v_log);
  else
    v_b := x + 1 - a;
    v_c := 1e100;
    v_d := 1 / v_b;
    v_sum := v_d;
    for i in 1..20000 loop
      v_term := -i * (i - a);
      v_b := v_b + 2;
      v_d := v_term * v_d + v_b;
      v_d := 1 / case when abs(v_d) < 1e-100 then 1e-100 else v_d end;
      v_c := v_b + v_term / v_c;
      v_c := case when abs(v_c) < 1e-100 then 1e-100 else v_c end;
      v_sum := v_sum * v_d * v_c;
      exit when abs(v_d * v_c - 1) < 1e-16;
    end loop;
    v_sum := v_sum * exp(v_log);
  end if;
  return case when v_lower = upper_tail then 1 - v_sum else v_sum end;
end
$$;

comment on function ml._incomplete_gamma(float8, float8, boolean) is $$
Returns the regularised incomplete gamma function P(a, x), or Q(a, x) = 1 - P when `upper_tail`.
Series below a + 1, continued fraction above.
$$;

grant execute on function ml._incomplete_gamma(float8, float8, boolean)
to insights_reader, insights_analyst, insights_admin, insights_worker;
