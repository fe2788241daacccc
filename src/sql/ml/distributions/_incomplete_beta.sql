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
Returns the regularised incomplete beta function I_x(a, b).
`complement` is 1 - x, a separate argument since it cannot be computed from an x near 1 without loss of digits.
Small results keep their relative accuracy; results below 1e-304 are 0.
$$;

grant execute on function ml._incomplete_beta(float8, float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
