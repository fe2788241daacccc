create or replace function ml.robust_variance_logregr(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text default null,
  max_iter integer default 20,
  optimizer text default 'irls',
  tolerance float8 default 0.0001,
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
  if lower(optimizer) not in ('irls', 'newton') then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(optimizer, 100)),
      'Use irls (the same as newton).');
  end if;
  perform ml._sandwich(
    'robust_variance_logregr',
    source_table, out_table, dependent_varname, independent_varname, null, grouping_cols,
    max_iter, tolerance, hc, weights, offsets
  );
end;
$$;

comment on function ml.robust_variance_logregr(
  text, text, text, text, text, integer, text, float8, boolean, text, text, text
) is $$
@behavior -*
Trains a logistic regression with Huber-White standard errors, as MADlib.
Writes `out_table`: the grouping columns, coef, std_err, z_stats, p_values, and, not in MADlib, variance_covariance,
num_rows_processed, num_missing_rows_skipped, failure; and `<out_table>_summary`.
`hc`: `HC0`, `HC1`, `HC2` or `HC3`, as those of ml.robust_variance_linregr.
`weights` and `offsets` are those of ml.logregr_train. Errors: as ml.logregr_train.
Source: Huber, Fifth Berkeley Symposium, 1967; R's sandwich.
$$;

grant execute on function ml.robust_variance_logregr(
  text, text, text, text, text, integer, text, float8, boolean, text, text, text
)
to insights_analyst, insights_admin, insights_worker;
