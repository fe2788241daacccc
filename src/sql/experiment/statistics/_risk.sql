create or replace function experiment._risk(mean float8, sd float8, is_inverse boolean)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_z constant float8 := least(abs(mean / sd), 37);
  v_density constant float8 := exp(-v_z * v_z / 2) / sqrt(2 * pi());
  v_tail float8 := v_density;
  v_term float8 := v_density;
  v_smaller float8;
  v_result float8[];
begin
  if v_z = 37 then
    v_tail := 0;
  elsif v_z < 12 then
    v_tail := v_density - v_z * ml.normal_cdf(-v_z);
  else
    -- both terms are nearly equal: their difference by the asymptotic series 1/z^2 - 3/z^4 + 15/z^6 - …
    v_term := v_density / v_z / v_z;
    v_tail := v_term;
    for k in 1..12 loop
      v_term := -v_term * (2 * k + 1) / v_z / v_z;
      v_tail := v_tail + v_term;
    end loop;
  end if;
  v_smaller := sd * v_tail;
  v_result := case
    when mean > 0 then array[mean + v_smaller, v_smaller]
    else array[v_smaller, v_smaller - mean]
  end;
  return case when is_inverse then array[v_result[2], v_result[1]] else v_result end;
end;
$$;

comment on function experiment._risk(float8, float8, boolean) is $$
Returns the expected loss of choosing the control and of choosing the treatment, for a normal difference.
$$;

grant execute on function experiment._risk(float8, float8, boolean)
to insights_reader, insights_analyst, insights_admin, insights_worker;
