create or replace function ml.logregr_train(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text default null,
  max_iter integer default 20,
  optimizer text default 'irls',
  tolerance float8 default 0.0001,
  verbose boolean default false,
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
declare
  v_output text := common.output_table(out_table, array['_summary']);
  v_design ml.design;
  v_fitted record;
  v_fit ml.fit;
  v_fits ml.fit[] := '{}';
begin
  perform ml._check_iteration(max_iter, tolerance);
  if optimizer is null or lower(optimizer) not in ('irls', 'newton') then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(optimizer, 100)),
      'Use irls (the same as newton), which converges in a few scans.');
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols, weights, offsets);
  v_fitted := ml._glm_fits(v_design, 'binomial', 'logit', max_iter, tolerance);
  foreach v_fit in array v_fitted.fits loop
    if v_fit.failure is null then
      v_fit.covariance := v_fit.inverse;
      v_fit.log_likelihood := -v_fit.deviance / 2;
      v_fit.condition_no := ml._condition_number(v_fit.information, v_fit.inverse);
      v_fit := ml._tested(v_fit, null);
    end if;
    if logregr_train.verbose then
      raise info 'group %: % rows, % iterations, deviance %',
        v_fit.group_key, v_fit.row_count, v_fit.iterations, v_fit.deviance;
    end if;
    v_fits := v_fits || v_fit;
  end loop;
  perform ml._warn_unconverged(v_fits, 'logregr_train', max_iter, 'max_iter');

  perform ml._publish(
    v_output, v_design, v_fits,
    'coef, log_likelihood, std_err, stats as z_stats, p_values, ml._odds_ratios(coef) as odds_ratios, condition_no, '
      || 'row_count as num_rows_processed, skipped as num_missing_rows_skipped, iterations as num_iterations, '
      || 'covariance as variance_covariance, converged, failure',
    format(
      $list$
      'logregr'::text as method, %L::text as source_table, %L::text as out_table, %L::text as dependent_varname,
      %L::text as independent_varname, %L::text as optimizer_params, group_count as num_all_groups,
      failed_count as num_failed_groups, row_count as num_rows_processed, skipped as num_missing_rows_skipped,
      %L::text as grouping_cols, %L::text as weights, %L::text as offsets
      $list$,
      source_table, out_table, dependent_varname, independent_varname,
      format('optimizer=%s, max_iter=%s, tolerance=%s', optimizer, max_iter, tolerance), grouping_cols, weights, offsets
    )
  );
end;
$$;

comment on function ml.logregr_train(text, text, text, text, text, integer, text, float8, boolean, text, text) is $$
@behavior -*
Trains a logistic regression, as MADlib: one model, or one for each value of the grouping columns.
Iteratively reweighted least squares; one scan per iteration for all groups. `dependent_varname` is a boolean, 0 and 1,
or an expression such as `score >= 50`; `independent_varname` an array, with the 1 of the intercept. Rows with a null
are skipped and counted; NaN and infinity are an error.
Writes `out_table`: the grouping columns, coef, log_likelihood, std_err, z_stats, p_values, odds_ratios, condition_no
(of the weighted design), num_rows_processed, num_missing_rows_skipped, num_iterations, variance_covariance, and, not in
MADlib, `converged` and `failure`; and `<out_table>_summary`.
`weights` is an expression: each row counts as that many rows; a row of weight 0 is skipped. `offsets` is an expression
that is added to the log odds; add it to predictions.
`tolerance`: the iteration ends when the distance of the coefficients to the optimum is below a hundredth of it, in
standard errors.
Errors: CF001 (not two classes, not a number, a weight that is negative or null), CF002, CF003 (output exists), CF004
(no rows, one class only), CF005, CF007 (collinear; separated: names the column), CF008.
Source: McCullagh and Nelder, Generalized Linear Models; separation by Albert and Anderson, Biometrika 71, 1984.
$$;

grant execute on function ml.logregr_train(text, text, text, text, text, integer, text, float8, boolean, text, text)
to insights_analyst, insights_admin, insights_worker;
