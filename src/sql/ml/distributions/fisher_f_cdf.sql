create or replace function ml.fisher_f_cdf(x float8, df1 float8, df2 float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_x constant float8 := greatest(ml._finite_range(x), 0);
  v_df1 constant float8 := greatest(df1, 1e-100);
  v_df2 constant float8 := greatest(df2, 1e-100);
begin
  if v_x = 'NaN' or df1 = 'NaN' or df2 = 'NaN' then
    return 'NaN';
  end if;
  perform ml._check_degrees(df1), ml._check_degrees(df2);
  return ml._incomplete_beta(
    v_df1 / 2,
    v_df2 / 2,
    v_df1 * v_x / (v_df1 * v_x + v_df2),
    v_df2 / (v_df1 * v_x + v_df2)
  );
end;
$$;

comment on function ml.fisher_f_cdf(float8, float8, float8) is $$
Returns Fisher's F distribution function at x with df1 and df2 degrees of freedom, by the incomplete beta function.
Error CF001 unless both are above 0, and at most 1e9.
$$;

grant execute on function ml.fisher_f_cdf(float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
