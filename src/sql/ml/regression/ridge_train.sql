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
  v_collinear constant text := 'the columns are collinear, and lambda is too small for a unique solution';
  v_output text := common.output_table(out_table, array['_summary']);
  v_design jsonb;
  v_first record;
  v_intercept integer;
  v_variables integer[];
  v_place integer[];
  v_size integer;
  v_width integer;
  v_keys text[];
  v_beta float8[];
  v_part record;
  v_matrix float8[];
  v_penalized float8[];
  v_inverse float8[];
  v_full float8[];
  v_value float8;
  v_unit float8;
  v_rss float8;
  v_total float8;
  v_degrees float8;
  v_failed bigint := 0;
  v_result jsonb[] := '{}';
begin
  if lambda is null or not lambda >= 0 or lambda = 'Infinity' then
    perform common.refuse('CF001', format('lambda is %s', coalesce(lambda::text, 'null')), 'Give 0 or more.');
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols);
  v_first := ml._settled(v_design);
  v_width := (v_design ->> 'width')::int;
  v_intercept := (v_first.settled ->> 'intercept')::int;
  v_variables := ml._variables(v_first.settled);
  v_size := cardinality(v_variables);
  v_place := array(
    select case when variable = 0 then v_intercept else variable end
    from unnest(v_variables) with ordinality as list (variable, nth)
    order by nth
  );
  if v_first.failure is not null and v_first.failure ~ 'constant, and so' then
    perform ml._fit_failed(v_first.failure, v_design ->> 'relation');
  end if;

  v_keys := array(
    select key
    from unnest(v_first.keys, v_first.row_counts) with ordinality as list (key, row_count, nth)
    where row_count > 0
    order by nth
  );
  if v_keys = '{}' then
    perform ml._fit_failed('no row without a null', v_design ->> 'relation');
  end if;
  -- starting from the mean of y, so that a large mean does not cost digits
  v_beta := array(
    select case
      when j = 1 and v_intercept is not null then v_first.sums[4 * nth - 3] / v_first.row_counts[nth]
      else 0
    end
    from unnest(v_first.row_counts) with ordinality as list (row_count, nth)
    cross join generate_series(1, v_size) as j
    where row_count > 0
    order by nth, j
  );
  for v_part in
    select part.key::int as g, part.row_count, part.sums
    from ml._sums(
      ml._glm_statement(v_first.settled, 'gaussian', 'identity', null, v_keys, v_beta, v_variables),
      (v_design ->> 'relation')::regclass
    ) as part
  loop
    v_matrix := ml._symmetric_matrix(v_part.sums[3 + v_size:], v_size);
    v_penalized := v_matrix;
    for i in 1..v_size loop
      if v_variables[i] > 0 then
        v_unit := (v_first.settled -> 'scale' ->> v_variables[i] - 1)::float8;
        if lambda > 0 and 2 * ln(v_unit) + ln(lambda) > ln(1e140::float8) then
          perform common.refuse(
            'CF007',
            format('column %s is too small beside the penalty lambda %s', v_variables[i], lambda),
            'Use other units, so that the values are near 1.'
          );
        end if;
        v_penalized[i][i] := v_penalized[i][i] + ml._times(ml._times(lambda, v_unit), v_unit);
      end if;
    end loop;
    v_inverse := (ml._scaled_inverse(v_penalized, 1e-13)).inverse;
    if v_inverse is null then
      if v_design -> 'groups' = '[]' then
        perform ml._fit_failed(v_collinear, v_design ->> 'relation');
      end if;
      v_failed := v_failed + 1;
      v_result := v_result || jsonb_build_object(
        'key', v_keys[v_part.g],
        'num_rows_processed', v_part.row_count,
        'failure', v_collinear
      );
      continue;
    end if;
    v_full := array_fill(0::float8, array[v_width]);
    v_degrees := 0;
    for i in 1..v_size loop
      v_value := 0;
      for j in 1..v_size loop
        v_value := v_value + v_inverse[i][j] * v_part.sums[2 + j];
        v_degrees := v_degrees + v_inverse[i][j] * v_matrix[j][i];
      end loop;
      v_full[v_place[i]] := v_value;
    end loop;
    v_total := v_part.sums[1];
    v_rss := v_total;
    for i in 1..v_size loop
      v_rss := v_rss - 2 * v_full[v_place[i]] * v_part.sums[2 + i];
      for j in 1..v_size loop
        v_rss := v_rss + v_full[v_place[i]] * v_matrix[i][j] * v_full[v_place[j]];
      end loop;
    end loop;
    if v_intercept is not null then
      v_full[v_intercept] := v_full[v_intercept] + v_beta[(v_part.g - 1) * v_size + 1];
    end if;
    v_result := v_result || jsonb_build_object(
      'key', v_keys[v_part.g],
      'coef', to_jsonb((
        ml._unscaled(v_full, null, v_first.settled, v_intercept, (v_first.settled ->> 'intercept_value')::float8)
      ).coef),
      'lambda', lambda,
      'r2', case when v_total > 0 then 1 - v_rss / v_total end,
      'effective_df', v_degrees,
      'num_rows_processed', v_part.row_count,
      'num_missing_rows_skipped', v_first.skipped[array_position(v_first.keys, v_keys[v_part.g])]
    );
  end loop;
  perform ml._publish(
    v_output, v_design,
    'coef float8[], lambda float8, r2 float8, effective_df float8, num_rows_processed bigint, '
      || 'num_missing_rows_skipped bigint, failure text',
    to_jsonb(v_result),
    jsonb_build_object(
      'method', 'ridge',
      'source_table', source_table,
      'out_table', out_table,
      'dependent_varname', dependent_varname,
      'independent_varname', independent_varname,
      'lambda', lambda,
      'grouping_cols', grouping_cols,
      'num_rows_processed', (select sum(n) from unnest(v_first.row_counts) as n),
      'num_missing_rows_skipped', (select sum(n) from unnest(v_first.skipped) as n),
      'num_all_groups', cardinality(v_first.keys),
      'num_failed_groups', v_failed
    ),
    'method text, source_table text, out_table text, dependent_varname text, independent_varname text, '
      || 'lambda float8, grouping_cols text, num_rows_processed bigint, num_missing_rows_skipped bigint, '
      || 'num_all_groups bigint, num_failed_groups bigint'
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

grant execute on function ml.ridge_train(text, text, text, text, float8, text)
  to insights_analyst, insights_admin, insights_worker;
