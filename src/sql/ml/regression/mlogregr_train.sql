create or replace function ml.mlogregr_train(
  source_table text,
  output_table text,
  dependent_varname text,
  independent_varname text,
  ref_category integer default 0,
  optimizer_params text default null,
  grouping_cols text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output text := common.output_table(output_table, array['_summary']);
  v_options constant jsonb := ml._options(
    optimizer_params,
    '{max_iter, max_num_iterations, optimizer, precision, tolerance}',
    'optimizer_params'
  );
  v_max_iter constant integer := ml._number(
    v_options, case when v_options ? 'max_iter' then 'max_iter' else 'max_num_iterations' end, 20, 1, 100000
  );
  v_tolerance constant float8 := ml._number(
    v_options, case when v_options ? 'precision' then 'precision' else 'tolerance' end, 1e-4, 0, 1
  );
  v_design ml.design;
  v_fitted record;
  v_fit ml.fit;
  v_fits ml.fit[] := '{}';
  v_count integer;
  v_covariance float8[];
begin
  if lower(coalesce(v_options ->> 'optimizer', 'irls')) not in ('irls', 'newton') then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(v_options ->> 'optimizer', 100)),
      'Use irls (the same as newton).');
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols);
  v_fitted := ml._multinomial_fits(v_design, ref_category, v_max_iter, v_tolerance);
  v_count := cardinality(v_fitted.categories);
  foreach v_fit in array v_fitted.fits loop
    if v_fit.failure is null then
      v_covariance := ml._multinomial_covariance(v_fit.inverse, v_fitted.settled, v_count);
      v_fit.condition_no := ml._condition_number((ml._scaled_inverse(v_covariance, 1e-15)).inverse, v_covariance) ^ 2;
      v_fits := v_fits || array(
        select fit from ml._multinomial_estimates(v_fitted.settled, v_fitted.categories, v_fit, v_covariance) as fit
      );
    else
      v_fit.log_likelihood := null;
      v_fit.iterations := null;
      v_fit.converged := null;
      v_fits := v_fits || v_fit;
    end if;
  end loop;
  perform ml._warn_unconverged(v_fitted.fits, 'mlogregr_train', v_max_iter, 'max_iter in optimizer_params');
  perform ml._publish(
    v_output, v_design, v_fits,
    format(
      'category, %L::integer as ref_category, coef, log_likelihood, std_err, stats as z_stats, p_values, '
        || 'ml._odds_ratios(coef) as odds_ratios, condition_no, iterations as num_iterations, '
        || 'row_count as num_rows_processed, skipped as num_missing_rows_skipped, converged, failure',
      ref_category
    ),
    format(
      $list$
      'mlogregr'::text as method, %L::text as source_table, %L::text as out_table, %L::text as dependent_varname,
      %L::text as independent_varname, %L::text as optimizer_params, %L::integer as ref_category,
      %L::integer as num_categories, row_count as num_rows_processed, skipped as num_missing_rows_skipped,
      %L::text as grouping_cols, group_count as num_all_groups, failed_count as num_failed_groups,
      %L::float8[] as variance_covariance, %L::float8[] as coef
      $list$,
      source_table, output_table, dependent_varname, independent_varname,
      format('optimizer=irls, max_iter=%s, tolerance=%s', v_max_iter, v_tolerance), ref_category, v_count + 1,
      grouping_cols,
      case when grouping_cols is null then v_covariance end,
      case when grouping_cols is null then
        array(select fit.coef from unnest(v_fits) with ordinality as fit where fit.coef is not null order by ordinality)
      end
    )
  );
end;
$$;

comment on function ml.mlogregr_train(text, text, text, text, integer, text, text) is $$
@behavior -*
Trains a multinomial logistic regression, as MADlib: the log odds of each category against `ref_category`.
`dependent_varname` is an integer; `independent_varname` an array, with the 1 of the intercept. `optimizer_params`:
max_iter (20), tolerance or precision (1e-4, in hundredths of a standard error). `grouping_cols`, which MADlib does not
have, trains one model per group.
Writes `output_table`, one row per category except the reference: the grouping columns, category, ref_category, coef,
log_likelihood, std_err, z_stats, p_values, odds_ratios, condition_no, num_iterations, num_rows_processed,
num_missing_rows_skipped, converged, failure; and `<output_table>_summary` with variance_covariance (by column, then
category; without groups).
Errors: CF001 (not integers), CF002 (unknown table, column or reference), CF003, CF004 (no rows, one class), CF005,
CF007 (collinear; separated), CF008 (more than 120 coefficients).
Source: Agresti, Categorical Data Analysis, 3rd edition, chapter 8.
$$;

grant execute on function ml.mlogregr_train(text, text, text, text, integer, text, text)
to insights_analyst, insights_admin, insights_worker;
