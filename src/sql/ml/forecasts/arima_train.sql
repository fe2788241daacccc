create or replace function ml.arima_train(
  input_table text,
  output_table text,
  timestamp_column text,
  timeseries_column text,
  grouping_columns text default null,
  include_mean boolean default false,
  non_seasonal_orders int[] default array[1, 1, 1],
  optimizer_params text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_started constant timestamptz := clock_timestamp();
  v_relation regclass := common.relation(input_table);
  v_output text := common.output_table(output_table, array['_summary', '_residual']);
  v_time text := common.column_name(v_relation, timestamp_column, 'timestamp column');
  v_p int;
  v_d int;
  v_q int;
  v_max_iter int := 100;
  v_row record;
  v_series float8[];
  v_lasts float8[] := '{}';
  v_size int;
  v_fit record;
  v_variance float8;
  v_errors float8[];
  v_unknowns int;
begin
  if nullif(btrim(grouping_columns), '') is not null then
    perform common.refuse('CF001', 'ARIMA models are not trained by group',
      'Train on a view of each group, or use ml.ets_train, which supports groups.');
  elsif include_mean is null
    or coalesce(array_length(non_seasonal_orders, 1), 0) <> 3
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
  end if;
  if nullif(btrim(optimizer_params), '') is not null then
    v_max_iter := substring(optimizer_params from '^\s*max_iter\s*=\s*([0-9]{1,6})\s*$')::int;
    if v_max_iter is null then
      perform common.refuse('CF001', format('optimizer_params is "%s"', left(optimizer_params, 100)),
        'Give the number of iterations, such as max_iter=200.');
    end if;
  end if;
  v_p := non_seasonal_orders[1];
  v_d := non_seasonal_orders[2];
  v_q := non_seasonal_orders[3];
  v_unknowns := v_p + v_q + include_mean::int;
  perform ml._read_series(v_relation, timestamp_column, timeseries_column, '{}');
  select series, times into v_row from pg_temp._ml_series;
  if array_position(v_row.series, null) is not null then
    perform common.refuse(
      'CF001',
      format('the series has a gap at %s', v_row.times[array_position(v_row.series, null)]),
      'Replace the null by a value, or use ml.ets_train, which accepts gaps.'
    );
  end if;
  v_series := v_row.series;
  for v_round in 1..v_d loop
    v_lasts := v_lasts || v_series[cardinality(v_series)];
    v_series := array(
      select v_series[place + 1] - v_series[place]
      from generate_series(1, cardinality(v_series) - 1) as place
      order by place
    );
  end loop;
  v_size := cardinality(v_series);
  if v_size - v_p <= v_unknowns + 1 then
    perform common.refuse(
      'CF004',
      format('%s rows are too few for orders %s', cardinality(v_row.series), non_seasonal_orders),
      'Lower the orders, or give a longer series.'
    );
  end if;
  v_fit := ml._series_fit(
    'arima',
    v_series,
    array[v_p, v_q, include_mean::int],
    array_fill(0.1::float8, array[v_p + v_q]) || case
      when include_mean then array[(select avg(value) from unnest(v_series) as value)]
      else '{}'::float8[]
    end,
    null,
    v_max_iter
  );
  v_variance := v_fit.squares / (v_size - v_p);
  if v_fit.covariance is null then
    perform common.refuse(
      'CF007',
      format('orders %s do not identify their parameters on this series', non_seasonal_orders),
      'Lower p or q: two of the parameters cancel out, or the series is constant.'
    );
  end if;
  v_errors := array(
    select sqrt(v_variance * v_fit.covariance[k][k])
    from generate_series(1, v_unknowns) as k
    order by k
  );
  execute format(
    $query$
    create table %s as
    select
      %L::float8 as mean,
      %L::float8 as mean_std_error,
      %L::float8[] as ar_params,
      %L::float8[] as ar_std_errors,
      %L::float8[] as ma_params,
      %L::float8[] as ma_std_errors
    $query$,
    v_output,
    case when include_mean then v_fit.parameters[v_unknowns] end, case when include_mean then v_errors[v_unknowns] end,
    v_fit.parameters[1:v_p], v_errors[1:v_p], v_fit.parameters[v_p + 1:v_p + v_q], v_errors[v_p + 1:v_p + v_q]
  );
  execute format(
    $query$
    create table %s as
    select
      %L::text as input_table,
      %L::text as timestamp_col,
      %L::text as timeseries_col,
      %L::int[] as non_seasonal_orders,
      %L::boolean as include_mean,
      %L::float8 as residual_variance,
      %L::float8 as log_likelihood,
      %s::int as iter_num,
      %L::interval as exec_time,
      %s::bigint as num_rows_processed,
      %L::float8[] as last_values,
      %L::float8[] as last_errors,
      %L::float8[] as last_levels
    $query$,
    common.companion_table(v_output, '_summary'),
    v_relation,
    v_time,
    timeseries_column,
    non_seasonal_orders,
    include_mean,
    v_variance,
    -0.5 * (v_size - v_p) * (ln(2 * pi() * v_variance) + 1),
    v_fit.iterations,
    clock_timestamp() - v_started,
    cardinality(v_row.series),
    v_series[v_size - greatest(v_p, 1) + 1:],
    v_fit.residuals[v_size - greatest(v_q, 1) + 1:],
    v_lasts
  );
  execute format(
    $query$
    create table %s as
    select time::%s as %s, residual
    from unnest(%L::text[], %L::float8[]) as entry (time, residual)
    $query$,
    common.companion_table(v_output, '_residual'),
    (
      select format_type(atttypid, atttypmod)
      from pg_catalog.pg_attribute
      where attrelid = v_relation
        and quote_ident(attname) = v_time
    ),
    v_time,
    v_row.times[v_d + 1:],
    v_fit.residuals
  );
  drop table pg_temp._ml_series;
end;
$$;

comment on function ml.arima_train(text, text, text, text, text, boolean, int[], text) is $$
@behavior -*
Trains an ARIMA(p, d, q) model by conditional least squares, with MADlib's arguments.
A series is differenced d times and explained by its p last values and q last errors.
`non_seasonal_orders` is array[p, d, q]; `include_mean` adds the mean of the differenced series; `optimizer_params` is
`max_iter=…`; `grouping_columns` must be null.
Rows are in the order of time, one per step, without gaps. For seasons, gaps and groups see ml.ets_train.
Writes `output_table`: `mean`, `mean_std_error`, `ar_params`, `ar_std_errors`, `ma_params`, `ma_std_errors`;
`<output_table>_summary`: `input_table`, `timestamp_col`,
`timeseries_col`, `non_seasonal_orders`, `include_mean`, `residual_variance`, `log_likelihood`, `iter_num`, `exec_time`,
`num_rows_processed` and the last values, errors and levels, from which forecasts start; `<output_table>_residual`: the
timestamp and
`residual`.
Errors: CF001 (orders, gaps, non-finite), CF002, CF003 (a table exists), CF004 (too few rows), CF005, CF007 (parameters
that cancel out).
Source: Box and Jenkins, Time Series Analysis: Forecasting and Control, 1970.
$$;

grant execute on function ml.arima_train(text, text, text, text, text, boolean, int[], text)
to insights_admin, insights_worker;
