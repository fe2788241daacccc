create or replace function ml.arima_train(
  input_table text,
  output_table text,
  timestamp_column text,
  timeseries_column text,
  grouping_columns text default null,
  include_mean boolean default false,
  non_seasonal_orders int[] default array[1, 1, 1],
  optimizer_params text default null,
  method text default 'css'
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_started timestamptz := clock_timestamp();
  v_relation regclass := common.relation(input_table);
  v_output text := common.output_table(output_table, array['_summary', '_residual']);
  v_summary constant text := common.companion_table(v_output, '_summary');
  v_residual constant text := common.companion_table(v_output, '_residual');
  v_time text := common.column_name(v_relation, timestamp_column, 'timestamp column');
  v_groups text[] := common.column_names(v_relation, grouping_columns, 'grouping columns');
  v_group_list text := array_to_string(v_groups, ', ') || case when v_groups = '{}' then '' else ',' end;
  v_p int;
  v_q int;
  v_max_iter int := 500;
  v_row record;
  v_fit record;
begin
  if include_mean is null
    or coalesce(array_length(non_seasonal_orders, 1), 0) <> 3
    or array_ndims(non_seasonal_orders) <> 1
    or array_position(non_seasonal_orders, null) is not null
    or 0 > any (non_seasonal_orders)
    or 10 < any (non_seasonal_orders)
    or non_seasonal_orders[1] + non_seasonal_orders[3] + include_mean::int = 0
  then
    perform common.refuse(
      'CF001',
      format('non_seasonal_orders is %s', coalesce(left(non_seasonal_orders::text, 100), 'null')),
      'Give p, d and q from 0 to 10, such as array[1,1,1]; p, q or the mean must be estimated.'
    );
  elsif method is null or method not in ('css', 'ml') then
    perform common.refuse('CF001', format('method is %s', coalesce(left(method, 100), 'null')),
      'Choose css (conditional sum of squares) or ml (exact maximum likelihood).');
  end if;
  if nullif(btrim(optimizer_params), '') is not null then
    v_max_iter := substring(optimizer_params from '^\s*max_iter\s*=\s*([0-9]{1,6})\s*$')::int;
    if v_max_iter is null then
      perform common.refuse('CF001', format('optimizer_params is "%s"', left(optimizer_params, 100)),
        'Give the number of iterations, such as max_iter=200.');
    end if;
  end if;
  perform ml._check_output_columns(v_groups, array[
    'mean', 'mean_std_error', 'ar_params', 'ar_std_errors', 'ma_params', 'ma_std_errors', 'input_table', 'method',
    'timestamp_col', 'timeseries_col', 'non_seasonal_orders', 'include_mean', 'residual_variance', 'log_likelihood',
    'iter_num', 'converged', 'unit_root', 'exec_time', 'num_rows_processed', 'num_missing_rows_skipped', 'failure',
    'state', 'state_covariance', 'residual', v_time
  ]);
  v_p := non_seasonal_orders[1];
  v_q := non_seasonal_orders[3];
  perform ml._read_series(v_relation, timestamp_column, timeseries_column, v_groups);
  perform ml._create_table(format(
    $query$
    create table %1$s as
    select
      %2$s null::float8 as mean, null::float8 as mean_std_error, null::float8[] as ar_params,
      null::float8[] as ar_std_errors, null::float8[] as ma_params, null::float8[] as ma_std_errors
    from pg_temp._ml_series
    where false
    $query$,
    v_output, v_group_list
  ));
  execute format(
    $query$
    create table %1$s as
    select
      %2$s null::text as input_table, null::text as timestamp_col, null::text as timeseries_col,
      null::int[] as non_seasonal_orders, null::boolean as include_mean, null::text as method,
      null::float8 as residual_variance, null::float8 as log_likelihood, null::int as iter_num,
      null::boolean as converged, null::text as unit_root, null::interval as exec_time,
      null::bigint as num_rows_processed, null::bigint as num_missing_rows_skipped, null::text as failure,
      null::float8[] as state, null::float8[] as state_covariance
    from pg_temp._ml_series
    where false
    $query$,
    v_summary, v_group_list
  );
  perform ml._create_table(format(
    'create table %1$s as select %2$s %3$s, null::float8 as residual from %4$s where false',
    v_residual, v_group_list, v_time, v_relation
  ));

  for v_row in
    select
      source._place as place, source._series as series, source._failure as failure,
      (select count(value) from unnest(source._series) as value) as known
    from pg_temp._ml_series as source
    order by source._place
  loop
    v_fit := ml._arima_model(
      case when v_row.failure is null then v_row.series else '{}' end, non_seasonal_orders || include_mean::int, method,
      v_max_iter
    );
    v_row.failure := coalesce(v_row.failure, v_fit.failure);
    if v_row.failure is not null and v_groups = '{}' then
      perform ml._refuse_series(v_row.failure, v_relation::text);
    end if;
    execute format(
      $query$
      insert into %1$s
      select %2$s $1, $2, $3, $4, $5, $6
      from pg_temp._ml_series
      where _place = $7
      $query$,
      v_output, v_group_list
    ) using
      case when include_mean and v_row.failure is null then v_fit.parameters[v_p + v_q + 1] end,
      case when include_mean and v_row.failure is null then v_fit.standard_errors[v_p + v_q + 1] end,
      case when v_row.failure is null then v_fit.parameters[1:v_p] end,
      case when v_row.failure is null then v_fit.standard_errors[1:v_p] end,
      case when v_row.failure is null then v_fit.parameters[v_p + 1:v_p + v_q] end,
      case when v_row.failure is null then v_fit.standard_errors[v_p + 1:v_p + v_q] end,
      v_row.place;
    execute format(
      $query$
      insert into %1$s
      select %2$s $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17
      from pg_temp._ml_series
      where _place = $18
      $query$,
      v_summary, v_group_list
    ) using
      v_relation::text,
      v_time,
      timeseries_column,
      non_seasonal_orders,
      include_mean,
      method,
      case when v_row.failure is null then v_fit.residual_variance end,
      case when v_row.failure is null then v_fit.log_likelihood end,
      case when v_row.failure is null then v_fit.iterations end,
      case when v_row.failure is null then v_fit.converged end,
      case when v_row.failure is null then v_fit.unit_root end,
      clock_timestamp() - v_started,
      v_row.known,
      cardinality(v_row.series) - v_row.known,
      v_row.failure,
      case when v_row.failure is null then v_fit.state end,
      case when v_row.failure is null then v_fit.covariance end,
      v_row.place;
    if v_row.failure is null then
      execute format(
        $query$
        insert into %1$s
        select %2$s entry.time::%3$s, entry.residual
        from pg_temp._ml_series
        cross join lateral unnest(_times[cardinality(_times) - $1 + 1:], $2) with ordinality
          as entry (time, residual, position)
        where _place = $3
        order by entry.position
        $query$,
        v_residual, v_group_list,
        (
          select format_type(atttypid, atttypmod)
          from pg_catalog.pg_attribute
          where attrelid = v_relation
            and quote_ident(attname) = v_time
        )
      ) using cardinality(v_fit.residuals), v_fit.residuals, v_row.place;
    end if;
    v_started := clock_timestamp();
  end loop;
  drop table pg_temp._ml_series;
end;
$$;

comment on function ml.arima_train(text, text, text, text, text, boolean, int[], text, text) is $$
@behavior -*
Trains an ARIMA(p, d, q) model, with MADlib's arguments: one, or one for each value of the grouping columns.
A series is differenced d times and explained by its p last values and q last errors.
`non_seasonal_orders` is array[p, d, q]; `include_mean` adds the mean of the differenced series. `method`: `css`, the
conditional sum of squares (as MADlib; the first p errors are not counted), or `ml`, the exact likelihood of a Kalman
filter, which accepts gaps (nulls). `optimizer_params` is `max_iter=…`. Rows are in the order of time, one per step.
The autoregression is kept stationary and the moving average invertible, and the best of nine starts is taken. An
estimate at the edge has no standard errors and is named in `unit_root`: with `ar`, difference once more; with `ma`,
once less. Standard errors are from the curvature of the likelihood.
Writes `output_table`: `mean`, `mean_std_error`, `ar_params`, `ar_std_errors`, `ma_params`, `ma_std_errors`;
`<output_table>_summary`: `input_table`, `timestamp_col`, `timeseries_col`, `non_seasonal_orders`, `include_mean`,
`method`, `residual_variance`, `log_likelihood` (of all values but d), `iter_num`, `converged`, `unit_root`,
`exec_time`, `num_rows_processed`, `num_missing_rows_skipped`, `failure`, and `state` and `state_covariance`, from which
forecasts start; `<output_table>_residual`: the timestamp and `residual`, null for a gap and for values that are not
counted. Each begins with the grouping columns. A group without a model has its reason in `failure`; without groups it
is an error.
Errors: CF001 (arguments, a gap with `css`, not finite), CF002, CF003 (a table exists), CF004 (too few values), CF005,
CF007 (constant).
Source: Box and Jenkins, Time Series Analysis: Forecasting and Control, 1970; Gardner, Harvey and Phillips, Applied
Statistics 29, 1980. Compared with arima() of R 4.2.2 in `src/sql/ml/forecasts/README.md`.
$$;

grant execute on function ml.arima_train(text, text, text, text, text, boolean, int[], text, text)
to insights_analyst, insights_admin, insights_worker;
