create or replace function ml.ets_train(
  input_table text,
  output_table text,
  timestamp_column text,
  timeseries_column text,
  grouping_columns text default null,
  seasonal_period int default 1,
  trend text default 'auto',
  seasonal text default 'auto',
  optimizer_params text default null,
  holdout int default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := common.relation(input_table);
  v_output text := common.output_table(output_table);
  v_groups text[] := common.column_names(v_relation, grouping_columns, 'grouping columns');
  v_group_list text := array_to_string(v_groups, ', ') || case when v_groups = '{}' then '' else ',' end;
  v_fixed float8[] := ml._ets_fixed(seasonal_period, trend, seasonal, optimizer_params, holdout);
  v_row record;
  v_fit record;
  v_size int;
begin
  perform ml._read_series(v_relation, timestamp_column, timeseries_column, v_groups);
  execute format(
    $query$
    create table %s as
    select
      %s null::jsonb as model, null::text as method, null::int as seasonal_period,
      null::float8 as alpha, null::float8 as beta, null::float8 as gamma, null::float8 as phi,
      null::float8 as residual_variance, null::float8 as aicc,
      null::bigint as num_rows_processed, null::bigint as num_missing_rows_skipped, null::text as last_time,
      null::float8 as mae, null::float8 as mase,
      null::int as holdout_rows, null::float8 as holdout_mae, null::float8 as holdout_naive_mae,
      null::float8[] as last_cycle
    from pg_temp._ml_series
    where false
    $query$,
    v_output, v_group_list
  );
  for v_row in select place, series, times from pg_temp._ml_series order by place loop
    v_size := cardinality(v_row.series) - (select count(*) from unnest(v_row.series) as value where value is null);
    if v_size < greatest(4, case when seasonal in ('additive', 'multiplicative') then 2 * seasonal_period end) then
      perform common.refuse(
        'CF004',
        format(
          '%s rows are too few for a forecast%s',
          v_size,
          case when v_groups = '{}' then '' else ' of ' || left(v_row.place::text, 100) end
        ),
        'Give at least four rows, and at least two cycles of a season.'
      );
    end if;
    v_fit := ml._ets_model(v_row.series, seasonal_period, trend, seasonal, v_fixed, holdout);
    execute format(
      $query$
      insert into %s
      select
        %s $1, $2, $3,
        ($1 ->> 'alpha')::float8, ($1 ->> 'beta')::float8, ($1 ->> 'gamma')::float8, ($1 ->> 'phi')::float8,
        ($1 ->> 'residual_variance')::float8, ($1 ->> 'aicc')::float8,
        $4, $5, times[cardinality(times)],
        $6, $7,
        $8, $9, $10,
        $11
      from pg_temp._ml_series
      where place = $12
      $query$,
      v_output, v_group_list
    ) using
      v_fit.model,
      v_fit.method,
      seasonal_period,
      v_fit.size,
      cardinality(v_row.series) - v_fit.size,
      v_fit.mae,
      v_fit.mase,
      v_fit.holdout_rows,
      v_fit.holdout_mae,
      v_fit.holdout_naive_mae,
      v_row.series[cardinality(v_row.series) - seasonal_period + 1:],
      v_row.place;
  end loop;
  drop table pg_temp._ml_series;
end;
$$;

comment on function ml.ets_train(text, text, text, text, text, int, text, text, text, int) is $$
@behavior -*
Trains exponential smoothing with level, trend and season (Holt and Winters), one model per group.
The parameters have the least squares of the one-step errors. `seasonal_period` is the number of rows in a cycle (7 for
days with a weekly cycle). `trend`: `none`, `additive`, `damped`; `seasonal`: `none`, `additive`, `multiplicative` (the
logarithm of the series is smoothed); `auto` chooses the shape with the least corrected Akaike criterion.
`optimizer_params` fixes parameters: `alpha=0.3, beta=0.1`. Rows are in the order of time, one per step; a null is a
gap.
Every model is compared with the seasonal-naive forecast, the value one cycle ago. `mase` is the mean absolute one-step
error over that of the naive forecast (below 1 is better). `holdout_mae` and `holdout_naive_mae` are the mean absolute
errors of both on the last `holdout` rows (by default a cycle or a tenth of the rows), with a model trained on the rows
before; null without a holdout.
Writes `output_table`: the grouping columns, `model` (parameters and state), `method` such as `ETS(A,Ad,A)`,
`seasonal_period`, `alpha`, `beta`, `gamma`, `phi`, `residual_variance`, `aicc`, `num_rows_processed`,
`num_missing_rows_skipped`, `last_time`, `mae`, `mase`, `holdout_rows`, `holdout_mae`, `holdout_naive_mae`,
`last_cycle`.
Errors: CF001, CF002, CF003 (`output_table` exists), CF004 (too few rows), CF005.
Source: Hyndman, Koehler, Ord and Snyder, Forecasting with Exponential Smoothing, 2008; Hyndman and Koehler, Another
look at measures of forecast accuracy, 2006.
$$;

grant execute on function ml.ets_train(text, text, text, text, text, int, text, text, text, int)
to insights_admin, insights_worker;
