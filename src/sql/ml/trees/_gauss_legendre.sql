create or replace function ml._gauss_legendre(points int)
returns table (point float8, weight float8)
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_x float8;
  v_step float8;
  v_before float8;
  v_value float8;
  v_next float8;
  v_slope float8;
begin
  for v_root in 1..points loop
    v_x := cos(pi() * (v_root - 0.25) / (points + 0.5));
    for v_round in 1..50 loop
      v_before := 1;
      v_value := v_x;
      for v_degree in 2..points loop
        v_next := ((2 * v_degree - 1) * v_x * v_value - (v_degree - 1) * v_before) / v_degree;
        v_before := v_value;
        v_value := v_next;
      end loop;
      v_slope := points * (v_x * v_value - v_before) / (v_x * v_x - 1);
      v_step := v_value / v_slope;
      v_x := v_x - v_step;
      exit when abs(v_step) < 1e-15;
    end loop;
    point := (1 - v_x) / 2;
    weight := 1 / ((1 - v_x * v_x) * v_slope * v_slope);
    return next;
  end loop;
end;
$$;

comment on function ml._gauss_legendre(int) is $$
Points and weights of Gauss–Legendre quadrature on 0..1: exact for polynomials of degree 2 · points − 1.
$$;

grant execute on function ml._gauss_legendre(int) to insights_reader, insights_analyst, insights_admin, insights_worker;
