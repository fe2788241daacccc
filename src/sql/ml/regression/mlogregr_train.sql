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
  v_design jsonb;
  v_variables integer[];
  v_place integer[];
  v_width integer;
  v_intercept integer;
  v_size integer;
  v_count integer := 0;
  v_covariance float8[];
  v_block float8[];
  v_coef float8[];
  v_condition float8;
  v_fit record;
  v_wald record;
  v_groups bigint := 0;
  v_failed bigint := 0;
  v_rows bigint := 0;
  v_skipped bigint := 0;
  v_failure text;
  v_result jsonb[] := '{}';
  v_coefs jsonb;
begin
  if lower(coalesce(v_options ->> 'optimizer', 'irls')) not in ('irls', 'newton') then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(v_options ->> 'optimizer', 100)),
      'Use irls (the same as newton).');
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols);
  v_width := (v_design ->> 'width')::int;
  for v_fit in select * from ml._multinomial_fits(v_design, ref_category, v_max_iter, v_tolerance) loop
    v_groups := v_groups + 1;
    v_rows := v_rows + v_fit.row_count;
    v_skipped := v_skipped + v_fit.skipped;
    v_count := cardinality(v_fit.categories);
    if v_fit.failure is not null then
      v_failure := coalesce(v_failure, v_fit.failure);
      v_failed := v_failed + 1;
      v_result := v_result || jsonb_build_object(
        'key', v_fit.key,
        'ref_category', ref_category,
        'num_rows_processed', v_fit.row_count,
        'num_missing_rows_skipped', v_fit.skipped,
        'failure', v_fit.failure
      );
      continue;
    elsif not v_fit.converged then
      raise warning 'ml.mlogregr_train: no convergence after % iterations%',
        v_max_iter,
        case when v_fit.key <> '' then format(' in group %s', left(v_fit.key, 100)) else '' end
        using hint = 'Give a larger max_iter in optimizer_params.';
    end if;
    v_intercept := (v_fit.settled ->> 'intercept')::int;
    v_variables := ml._variables(v_fit.settled);
    v_place := array(
      select case when variable = 0 then v_intercept else variable end
      from unnest(v_variables) with ordinality as list (variable, nth)
      order by nth
    );
    v_size := cardinality(v_variables);

    v_covariance := ml._multinomial_covariance(v_fit.inverse, v_fit.settled, v_count);
    v_condition := ml._condition_number((ml._scaled_inverse(v_covariance, 1e-15)).inverse, v_covariance) ^ 2;
    v_coefs := '[]';
    for a in 1..v_count loop
      v_coef := array_fill(0::float8, array[v_width]);
      v_block := array_fill(0::float8, array[v_width, v_width]);
      for i in 1..v_size loop
        v_coef[v_place[i]] := v_fit.beta[(a - 1) * v_size + i];
      end loop;
      v_coef := (
        ml._unscaled(v_coef, null, v_fit.settled, v_intercept, (v_fit.settled ->> 'intercept_value')::float8)
      ).coef;
      for i in 1..v_width loop
        v_block[i][i] := v_covariance[(i - 1) * v_count + a][(i - 1) * v_count + a];
      end loop;
      v_wald := ml._wald(v_coef, v_block, null);
      v_coefs := v_coefs || jsonb_build_array(v_coef);
      v_result := v_result || jsonb_build_object(
        'key', v_fit.key,
        'category', v_fit.categories[a],
        'ref_category', ref_category,
        'coef', to_jsonb(v_coef),
        'log_likelihood', v_fit.log_likelihood,
        'std_err', to_jsonb(v_wald.std_err),
        'z_stats', to_jsonb(v_wald.stats),
        'p_values', to_jsonb(v_wald.p_values),
        'odds_ratios', (
          select to_jsonb(array_agg(exp(least(greatest(value, -700), 700)) order by nth))
          from unnest(v_coef) with ordinality as list (value, nth)
        ),
        'condition_no', v_condition,
        'num_iterations', v_fit.iterations,
        'num_rows_processed', v_fit.row_count,
        'num_missing_rows_skipped', v_fit.skipped,
        'converged', v_fit.converged
      );
    end loop;
  end loop;
  if v_failed = v_groups then
    perform ml._fit_failed(v_failure, v_design ->> 'relation');
  end if;
  perform ml._publish(
    v_output, v_design,
    'category integer, ref_category integer, coef float8[], log_likelihood float8, std_err float8[], '
      || 'z_stats float8[], p_values float8[], odds_ratios float8[], condition_no float8, num_iterations integer, '
      || 'num_rows_processed bigint, num_missing_rows_skipped bigint, converged boolean, failure text',
    to_jsonb(v_result),
    jsonb_build_object(
      'method', 'mlogregr',
      'source_table', source_table,
      'out_table', output_table,
      'dependent_varname', dependent_varname,
      'independent_varname', independent_varname,
      'optimizer_params', format('optimizer=irls, max_iter=%s, tolerance=%s', v_max_iter, v_tolerance),
      'ref_category', ref_category,
      'num_categories', v_count + 1,
      'num_rows_processed', v_rows,
      'num_missing_rows_skipped', v_skipped,
      'grouping_cols', grouping_cols,
      'num_all_groups', v_groups,
      'num_failed_groups', v_failed,
      'variance_covariance', case when grouping_cols is null then to_jsonb(v_covariance) end,
      'coef', case when grouping_cols is null then v_coefs end
    ),
    'method text, source_table text, out_table text, dependent_varname text, independent_varname text, '
      || 'optimizer_params text, ref_category integer, num_categories integer, num_rows_processed bigint, '
      || 'num_missing_rows_skipped bigint, grouping_cols text, num_all_groups bigint, num_failed_groups bigint, '
      || 'variance_covariance float8[], coef float8[]'
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
