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
  v_design jsonb;
  v_result jsonb[] := '{}';
  v_rows bigint := 0;
  v_skipped bigint := 0;
  v_failed bigint := 0;
  v_iterations integer := 0;
  v_fit record;
  v_wald record;
begin
  perform ml._check_iteration(max_iter, tolerance);
  if optimizer is null or lower(optimizer) not in ('irls', 'newton') then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(optimizer, 100)),
      'Use irls (the same as newton), which converges in a few scans.');
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols, weights, offsets);
  for v_fit in select * from ml._glm_fits(v_design, 'binomial', 'logit', max_iter, tolerance) loop
    v_rows := v_rows + v_fit.row_count;
    v_skipped := v_skipped + v_fit.skipped;
    v_iterations := greatest(v_iterations, v_fit.iterations);
    if v_fit.failure is not null and v_design -> 'groups' = '[]' then
      perform ml._fit_failed(v_fit.failure, v_design ->> 'relation');
    end if;
    v_wald := ml._wald(v_fit.coef, v_fit.inverse, null);
    v_failed := v_failed + (v_fit.failure is not null)::int;
    v_result := v_result || jsonb_build_object(
      'key', v_fit.key,
      'coef', to_jsonb(v_fit.coef),
      'log_likelihood', case when v_fit.failure is null then -v_fit.deviance / 2 end,
      'std_err', to_jsonb(v_wald.std_err),
      'z_stats', to_jsonb(v_wald.stats),
      'p_values', to_jsonb(v_wald.p_values),
      'odds_ratios', (
        select to_jsonb(array_agg(exp(least(greatest(value, -700), 700)) order by nth))
        from unnest(v_fit.coef) with ordinality as list (value, nth)
      ),
      'condition_no', case when v_fit.failure is null then ml._condition_number(v_fit.information, v_fit.inverse) end,
      'num_rows_processed', v_fit.row_count,
      'num_missing_rows_skipped', v_fit.skipped,
      'num_iterations', v_fit.iterations,
      'variance_covariance', to_jsonb(v_fit.inverse),
      'converged', v_fit.converged,
      'failure', v_fit.failure
    );
    if logregr_train.verbose then
      raise info 'group %: % rows, % iterations, deviance %',
        v_fit.key, v_fit.row_count, v_fit.iterations, v_fit.deviance;
    end if;
    if v_fit.failure is null and not v_fit.converged then
      raise warning 'ml.logregr_train: no convergence after % iterations%',
        max_iter,
        case when v_fit.key <> '' then format(' in group %s', left(v_fit.key, 100)) else '' end
        using hint = 'Give a larger max_iter.';
    end if;
  end loop;
  if v_failed = cardinality(v_result) then
    perform ml._fit_failed(v_result[1] ->> 'failure', v_design ->> 'relation');
  end if;

  perform ml._publish(
    v_output, v_design,
    'coef float8[], log_likelihood float8, std_err float8[], z_stats float8[], p_values float8[], '
      || 'odds_ratios float8[], condition_no float8, num_rows_processed bigint, num_missing_rows_skipped bigint, '
      || 'num_iterations integer, variance_covariance float8[], converged boolean, failure text',
    to_jsonb(v_result),
    jsonb_build_object(
      'method', 'logregr',
      'source_table', source_table,
      'out_table', out_table,
      'dependent_varname', dependent_varname,
      'independent_varname', independent_varname,
      'optimizer_params', format('optimizer=%s, max_iter=%s, tolerance=%s', optimizer, max_iter, tolerance),
      'num_all_groups', cardinality(v_result),
      'num_failed_groups', v_failed,
      'num_rows_processed', v_rows,
      'num_missing_rows_skipped', v_skipped,
      'grouping_cols', grouping_cols,
      'weights', weights,
      'offsets', offsets
    ),
    'method text, source_table text, out_table text, dependent_varname text, independent_varname text, '
      || 'optimizer_params text, num_all_groups bigint, num_failed_groups bigint, num_rows_processed bigint, '
      || 'num_missing_rows_skipped bigint, grouping_cols text, weights text, offsets text'
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
