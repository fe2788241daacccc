create or replace function ml._fisher_f_p_value(root float8, df1 float8, df2 float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_f constant float8 := ml._finite_range(ml._finite_range(root) * ml._finite_range(root));
begin
  perform ml._check_degrees(df1), ml._check_degrees(df2);
  return ml._incomplete_beta(df2 / 2, df1 / 2, df2 / (df1 * v_f + df2), df1 * v_f / (df1 * v_f + df2));
end;
$$;

comment on function ml._fisher_f_p_value(float8, float8, float8) is $$
Returns the probability that Fisher's F with df1 and df2 degrees of freedom is at least `root` squared.
It keeps its relative accuracy, which 1 - `ml.fisher_f_cdf` loses. Error CF001 unless both are above 0, and at most
1e9.
$$;

grant execute on function ml._fisher_f_p_value(float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
