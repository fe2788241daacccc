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
  if degrees <= 1e8 then
    return ml.students_t_quantile(p, degrees);
  end if;
  -- Cornish and Fisher's first term; the next is of the order of 1 / degrees^2
  v_z := ml.normal_quantile(p);
  return v_z + (v_z ^ 3 + v_z) / (4 * degrees);
end;
$$;

comment on function experiment._t_quantile(float8, float8) is $$
Returns the quantile of Student's t for any number of degrees of freedom above 0.01.
$$;

grant execute on function experiment._t_quantile(float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
