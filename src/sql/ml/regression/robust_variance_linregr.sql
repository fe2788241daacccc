create or replace function ml.robust_variance_linregr(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text default null,
  verbose_mode boolean default false,
  hc text default 'HC0',
  weights text default null,
  offsets text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  perform ml._sandwich(
    'robust_variance_linregr',
    source_table, out_table, dependent_varname, independent_varname, null, grouping_cols,
    20, 1e-6, hc, weights, offsets
  );
end;
$$;

comment on function ml.robust_variance_linregr(text, text, text, text, text, boolean, text, text, text) is $$
@behavior -*
Trains a linear regression with standard errors that are valid under heteroskedasticity, as MADlib.
Writes `out_table`: the grouping columns, coef, std_err, t_stats, p_values, and, not in MADlib, variance_covariance,
num_rows_processed, num_missing_rows_skipped, failure; and `<out_table>_summary`.
`hc`: `HC0` (White, as MADlib), `HC1` (times n / (n - k), as Stata), `HC2` or `HC3` (by the leverage of each row, for
small samples). `verbose_mode` changes nothing. `weights` and `offsets` are those of ml.linregr_train.
Errors: as ml.linregr_train.
Source: White, Econometrica 48, 1980; MacKinnon and White, Journal of Econometrics 29, 1985.
$$;

grant execute on function ml.robust_variance_linregr(text, text, text, text, text, boolean, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
