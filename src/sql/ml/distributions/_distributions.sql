/*
 * Special functions behind the distribution functions. PostgreSQL has erf from 16 and gamma from 18 only, and this must run
 * on 15; so they are written here, to about fourteen digits, upper tails to full relative accuracy.
 */

create or replace function ml._log1p(x float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  -- (1 + x) - 1 is what ln really saw: dividing by it cancels the rounding (Goldberg 1991, theorem 4)
  select case when 1 + _log1p.x = 1 then _log1p.x else ln(1 + _log1p.x) * _log1p.x / ((1 + _log1p.x) - 1) end;
end;

comment on function ml._log1p(float8) is $$ln(1 + x), exact for small x.$$;

create or replace function ml._log_gamma_correction(x float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select (1.0 / 12 - (1.0 / 360 - (1.0 / 1260 - (1.0 / 1680 - (1.0 / 1188 - (691.0 / 360360 - z / 156) * z) * z) * z) * z) * z)
    / _log_gamma_correction.x
  from (values (1 / (_log_gamma_correction.x * _log_gamma_correction.x))) as inverse_square (z);
end;

comment on function ml._log_gamma_correction(float8) is $$
What Stirling's formula lacks of ln gamma(x), for x >= 10: 1/(12x) - 1/(360x^3) + … (Abramowitz and Stegun 6.1.41).
$$;

create or replace function ml._log_gamma(x float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_x float8 := x;
  v_product float8 := 1;
begin
  -- upwards by x gamma(x) = gamma(x + 1) until Stirling's series is exact to the last digit
  while v_x < 16 loop
    v_product := v_product * v_x;
    v_x := v_x + 1;
  end loop;
  return (v_x - 0.5) * ln(v_x) - v_x + 0.918938533204672741780329736406 + ml._log_gamma_correction(v_x) - ln(v_product);
end
$$;

comment on function ml._log_gamma(float8) is $$Natural logarithm of the gamma function for x > 0.$$;

create or replace function ml._log_beta(a float8, b float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_p constant float8 := least(a, b);
  v_q constant float8 := greatest(a, b);
begin
  -- for a large argument the difference of two huge logarithms is written out by hand, or half the digits would go
  if v_p >= 10 then
    return ml._log_gamma_correction(v_p) + ml._log_gamma_correction(v_q) - ml._log_gamma_correction(v_p + v_q)
      + 0.918938533204672741780329736406 - 0.5 * ln(v_q) + (v_p - 0.5) * ln(v_p / (v_p + v_q)) + v_q * ml._log1p(-v_p / (v_p + v_q));
  elsif v_q >= 10 then
    return ml._log_gamma(v_p) + ml._log_gamma_correction(v_q) - ml._log_gamma_correction(v_p + v_q)
      + v_p - v_p * ln(v_p + v_q) + (v_q - 0.5) * ml._log1p(-v_p / (v_p + v_q));
  end if;
  return ml._log_gamma(v_p) + ml._log_gamma(v_q) - ml._log_gamma(v_p + v_q);
end
$$;

comment on function ml._log_beta(float8, float8) is $$
Natural logarithm of the beta function for a, b > 0, accurate for large arguments too (as TOMS 708).
$$;

create or replace function ml._incomplete_beta(a float8, b float8, x float8, complement float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_a float8 := a;
  v_b float8 := b;
  v_x float8 := x;
  v_y float8 := complement;
  v_swapped boolean := false;
  v_log float8;
  v_c float8 := 1;
  v_d float8;
  v_fraction float8;
  v_term float8;
  v_delta float8;
begin
  if v_x <= 0 then
    return 0;
  elsif v_y <= 0 then
    return 1;
  end if;
  if v_x > (v_a + 1) / (v_a + v_b + 2) then
    v_swapped := true;
    v_a := b;
    v_b := a;
    v_x := complement;
    v_y := x;
  end if;
  v_log := v_a * case when v_x < 0.5 then ln(v_x) else ml._log1p(-v_y) end
    + v_b * case when v_y < 0.5 then ln(v_y) else ml._log1p(-v_x) end - ml._log_beta(v_a, v_b);
  if v_log < -700 then
    return case when v_swapped then 1 else 0 end;
  end if;

  -- continued fraction by Lentz's method (Numerical Recipes 6.4)
  v_d := 1 - (v_a + v_b) * v_x / (v_a + 1);
  v_d := 1 / case when abs(v_d) < 1e-100 then 1e-100 else v_d end;
  v_fraction := v_d;
  for m in 1..20000 loop
    v_term := m * (v_b - m) * v_x / ((v_a + 2 * m - 1) * (v_a + 2 * m));
    v_d := 1 + v_term * v_d;
    v_d := 1 / case when abs(v_d) < 1e-100 then 1e-100 else v_d end;
    v_c := 1 + v_term / v_c;
    v_c := case when abs(v_c) < 1e-100 then 1e-100 else v_c end;
    v_fraction := v_fraction * v_d * v_c;
    v_term := -(v_a + m) * (v_a + v_b + m) * v_x / ((v_a + 2 * m) * (v_a + 2 * m + 1));
    v_d := 1 + v_term * v_d;
    v_d := 1 / case when abs(v_d) < 1e-100 then 1e-100 else v_d end;
    v_c := 1 + v_term / v_c;
    v_c := case when abs(v_c) < 1e-100 then 1e-100 else v_c end;
    v_delta := v_d * v_c;
    v_fraction := v_fraction * v_delta;
    exit when abs(v_delta - 1) < 1e-16;
  end loop;
  v_fraction := exp(v_log) * v_fraction / v_a;
  return case when v_swapped then 1 - v_fraction else v_fraction end;
end
$$;

comment on function ml._incomplete_beta(float8, float8, float8, float8) is $$
Regularised incomplete beta function I_x(a, b). `complement` is 1 - x, given apart since near 1 it can't be had from x.
Small results keep their relative accuracy; under 1e-304 they are 0.
$$;

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
    -- a ln x - x - ln gamma(a), around its peak, where the three cancel
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
Regularised incomplete gamma function P(a, x), or Q(a, x) = 1 - P when `upper_tail`. Series below a + 1, continued fraction above.
$$;

create or replace function ml._normal_p_value(z float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select ml._incomplete_gamma(0.5, _normal_p_value.z * _normal_p_value.z / 2, true);
end;

comment on function ml._normal_p_value(float8) is $$Probability that a standard normal variable is at least as far from 0 as z, both sides.$$;

create or replace function ml._students_t_p_value(t float8, nu float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select ml._incomplete_beta(
    _students_t_p_value.nu / 2,
    0.5,
    1 / (1 + _students_t_p_value.t * _students_t_p_value.t / _students_t_p_value.nu),
    1 / (1 + _students_t_p_value.nu / nullif(_students_t_p_value.t * _students_t_p_value.t, 0))
  )
  where _students_t_p_value.t <> 0
  union all
  select 1
  where _students_t_p_value.t = 0;
end;

comment on function ml._students_t_p_value(float8, float8) is $$
Probability that Student's t with `nu` degrees of freedom is at least as far from 0 as t, both sides.
$$;

grant execute on function
  ml._log1p(float8),
  ml._log_gamma_correction(float8),
  ml._log_gamma(float8),
  ml._log_beta(float8, float8),
  ml._incomplete_beta(float8, float8, float8, float8),
  ml._incomplete_gamma(float8, float8, boolean),
  ml._normal_p_value(float8),
  ml._students_t_p_value(float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
