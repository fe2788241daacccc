create or replace function ml.fisher_f_cdf(x float8, df1 float8, df2 float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select ml._incomplete_beta(
    fisher_f_cdf.df1 / 2,
    fisher_f_cdf.df2 / 2,
    fisher_f_cdf.df1 * greatest(fisher_f_cdf.x, 0)
      / (fisher_f_cdf.df1 * greatest(fisher_f_cdf.x, 0) + fisher_f_cdf.df2),
    fisher_f_cdf.df2 / (fisher_f_cdf.df1 * greatest(fisher_f_cdf.x, 0) + fisher_f_cdf.df2)
  );
end;

comment on function ml.fisher_f_cdf(float8, float8, float8) is $$
Returns Fisher's F distribution function at x with df1 and df2 degrees of freedom, by the incomplete beta function.
$$;

grant execute on function ml.fisher_f_cdf(float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
