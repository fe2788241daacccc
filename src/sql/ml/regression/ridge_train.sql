create or replace function ml._ridge_fit(settled ml.design, fit ml.fit, lambda float8, sums float8[])
returns ml.fit
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_unknowns constant integer[] := ml._unknowns(settled);
  v_size constant integer := cardinality(v_unknowns);
  v_matrix constant float8[] := ml._symmetric_matrix(sums[3 + v_size:], v_size);
  v_penalized float8[] := v_matrix;
  v_inverse float8[];
  v_fit ml.fit := fit;
  v_step float8[] := array_fill(0::float8, array[v_size]);
  v_unit float8;
  v_rss float8 := sums[1];
begin
  for i in 1..v_size loop
    if v_unknowns[i] is distinct from settled.intercept then
      v_unit := settled.scale[v_unknowns[i]];
      if lambda > 0 and 2 * ln(v_unit) + ln(lambda) > ln(1e140::float8) then
        perform common.refuse(
          'CF007',
          format('column %s is too small beside the penalty lambda %s', v_unknowns[i], lambda),
          'Use other units, so that the values are near 1.'
        );
      end if;
      v_penalized[i][i] := v_penalized[i][i] + ml._times(ml._times(lambda, v_unit), v_unit);
    end if;
  end loop;
  v_inverse := (ml._scaled_inverse(v_penalized, 1e-13)).inverse;
  if v_inverse is null then
    v_fit.failure := 'the columns are collinear, and lambda is too small for a unique solution';
    return v_fit;
  end if;
  v_fit.effective_df := 0;
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_step[i] := v_step[i] + v_inverse[i][j] * sums[2 + j];
      v_fit.effective_df := v_fit.effective_df + v_inverse[i][j] * v_matrix[j][i];
    end loop;
  end loop;
  for i in 1..v_size loop
    v_fit.beta[v_unknowns[i]] := fit.beta[v_unknowns[i]] + v_step[i];
    v_rss := v_rss - 2 * v_step[i] * sums[2 + i];
    for j in 1..v_size loop
      v_rss := v_rss + v_step[i] * v_matrix[i][j] * v_step[j];
    end loop;
  end loop;
  v_fit.lambda := lambda;
  v_fit.r2 := case when sums[1] > 0 then 1 - v_rss / sums[1] end;
  v_fit.coef := (ml._unscaled(v_fit.beta, null, settled, settled.intercept, settled.intercept_value)).coef;
  return v_fit;
end;
$$;

comment on function ml._ridge_fit(ml.design, ml.fit, float8, float8[]) is $$
Returns the fit of one group with the least penalised sum of squares, from the sums of ml._glm_statement at its `beta`.
$$;

create or replace function ml.ridge_train(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  lambda float8,
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
  v_output text := common.output_table(out_table, array['_summary']);
  v_design ml.design;
  v_first record;
  v_settled ml.design;
  v_group ml.design_group;
  v_fit ml.fit;
  v_fits ml.fit[] := '{}';
begin
  if lambda is null or not lambda >= 0 or lambda = 'Infinity' then
    perform common.refuse('CF001', format('lambda is %s', coalesce(lambda::text, 'null')), 'Give 0 or more.');
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols);
  v_first := ml._settled(v_design);
  v_settled := v_first.settled;
  if v_first.failure ~ 'constant, and so' then
    perform ml._fit_failed(v_first.failure, v_design.source);
  end if;

  foreach v_group in array v_first.groups loop
    if v_group.row_count > 0 then
      v_fit := null;
      v_fit.group_key := v_group.group_key;
      v_fit.row_count := v_group.row_count;
      v_fit.skipped := v_group.skipped;
      -- starting from the mean of y, so that a large mean does not cost digits
      v_fit.beta := array_fill(0::float8, array[v_design.width]);
      if v_settled.intercept is not null then
        v_fit.beta[v_settled.intercept] := v_group.total / v_group.row_count;
      end if;
      v_fits := v_fits || v_fit;
    end if;
  end loop;
  if v_fits = '{}' then
    perform ml._fit_failed('no row without a null', v_design.source);
  end if;
  v_fits := array(
    select ml._ridge_fit(v_settled, v_fits[part.key::int], lambda, part.sums)
    from ml._sums(
      ml._glm_statement(v_settled, 'gaussian', 'identity', null, v_fits), v_design.relation
    ) as part
  );
  perform ml._publish(
    v_output, v_design, v_fits,
    'coef, lambda, r2, effective_df, row_count as num_rows_processed, skipped as num_missing_rows_skipped, failure',
    format(
      $list$
      'ridge'::text as method, %L::text as source_table, %L::text as out_table, %L::text as dependent_varname,
      %L::text as independent_varname, %L::float8 as lambda, %L::text as grouping_cols,
      %L::bigint as num_rows_processed, %L::bigint as num_missing_rows_skipped, %L::bigint as num_all_groups,
      failed_count as num_failed_groups
      $list$,
      source_table, out_table, dependent_varname, independent_varname, lambda, grouping_cols,
      (select sum(part.row_count) from unnest(v_first.groups) as part),
      (select sum(part.skipped) from unnest(v_first.groups) as part),
      cardinality(v_first.groups)
    )
  );
end;
$$;

comment on function ml.ridge_train(text, text, text, text, float8, text) is $$
@behavior -*
Trains a ridge regression: minimises the squared residuals plus lambda times the squared coefficients.
In closed form, with two scans. A constant column among the independent variables is the intercept and is not penalised;
none is added. Columns may be collinear, and more than the rows. Predict with ml.linregr_predict.
Writes `out_table`: the grouping columns, coef, lambda, r2, effective_df (trace of the hat matrix), num_rows_processed,
num_missing_rows_skipped, failure; and `<out_table>_summary`.
Errors: CF001 (lambda < 0, not a number), CF002, CF003, CF004, CF005, CF007 (collinear with lambda 0), CF008.
Source: Hoerl and Kennard, Technometrics 12, 1970.
$$;

grant execute on function
  ml._ridge_fit(ml.design, ml.fit, float8, float8[]),
  ml.ridge_train(text, text, text, text, float8, text)
to insights_analyst, insights_admin, insights_worker;
