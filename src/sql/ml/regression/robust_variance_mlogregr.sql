create or replace function ml.robust_variance_mlogregr(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  ref_category integer default 0,
  grouping_cols text default null,
  optimizer_params text default null,
  verbose_mode boolean default false
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  perform ml._multinomial_sandwich(
    'robust_variance_mlogregr',
    source_table, out_table, dependent_varname, independent_varname, null, ref_category, grouping_cols, optimizer_params
  );
end;
$$;

comment on function ml.robust_variance_mlogregr(text, text, text, text, integer, text, text, boolean) is $$
@behavior -*
Trains a multinomial logistic regression with Huber-White standard errors, as MADlib.
Writes `out_table`, one row per category except the reference: the grouping columns, category, ref_category, coef,
std_err, z_stats, p_values, and, not in MADlib, num_rows_processed, num_missing_rows_skipped, failure; and
`<out_table>_summary`. `optimizer_params` as in ml.mlogregr_train.
Source: Huber, Fifth Berkeley Symposium, 1967: HC0, without a correction for small samples.
Errors: as ml.mlogregr_train.
$$;

grant execute on function ml.robust_variance_mlogregr(text, text, text, text, integer, text, text, boolean)
to insights_analyst, insights_admin, insights_worker;
