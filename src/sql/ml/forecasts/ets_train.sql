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
begin
  perform ml._check_output_columns(v_groups, array[
    'model', 'method', 'seasonal_period', 'alpha', 'beta', 'gamma', 'phi', 'residual_variance', 'aicc',
    'num_rows_processed', 'num_missing_rows_skipped', 'last_time', 'mae', 'mase', 'holdout_rows', 'holdout_mae',
    'holdout_naive_mae', 'last_cycle', 'failure', 'step_ahead', 'forecast_value', 'lower', 'upper', 'naive_value'
  ]);
  perform ml._read_series(v_relation, timestamp_column, timeseries_column, v_groups);
  perform ml._create_table(format(
    $query$
    create table %s as
    select
      %s null::jsonb as model, null::text as method, null::int as seasonal_period,
      null::float8 as alpha, null::float8 as beta, null::float8 as gamma, null::float8 as phi,
      null::float8 as residual_variance, null::float8 as aicc,
      null::bigint as num_rows_processed, null::bigint as num_missing_rows_skipped, null::text as last_time,
      null::float8 as mae, null::float8 as mase,
      null::int as holdout_rows, null::float8 as holdout_mae, null::float8 as holdout_naive_mae,
      null::float8[] as last_cycle, null::text as failure
    from pg_temp._ml_series
    where false
    $query$,
    v_output, v_group_list
  ));
  for v_row in
    select source._place as place, source._series as series, source._failure as failure
    from pg_temp._ml_series as source
    order by source._place
  loop
    v_fit := ml._ets_model(
      case when v_row.failure is null then v_row.series else '{}' end,
      seasonal_period, trend, seasonal, v_fixed, holdout
    );
    v_row.failure := coalesce(v_row.failure, v_fit.failure);
    if v_row.failure is not null and v_groups = '{}' then
      perform ml._refuse_series(v_row.failure, v_relation::text);
    end if;
    execute format(
      $query$
      insert into %s
      select
        %s $1, $2, $3,
        ($1 ->> 'alpha')::float8, ($1 ->> 'beta')::float8, ($1 ->> 'gamma')::float8, ($1 ->> 'phi')::float8,
        ($1 ->> 'residual_variance')::float8, ($1 ->> 'aicc')::float8,
        $4, $5, _times[cardinality(_times)],
        $6, $7,
        $8, $9, $10,
        $11, $12
      from pg_temp._ml_series
      where _place = $13
      $query$,
      v_output, v_group_list
    ) using
      v_fit.model,
      v_fit.method,
      seasonal_period,
      (select count(value) from unnest(v_row.series) as value),
      (select count(*) from unnest(v_row.series) as value where value is null),
      v_fit.mae,
      v_fit.mase,
      v_fit.holdout_rows,
      v_fit.holdout_mae,
      v_fit.holdout_naive_mae,
      v_fit.cycle,
      v_row.failure,
      v_row.place;
  end loop;
  drop table pg_temp._ml_series;
end;
$$;

comment on function ml.ets_train(text, text, text, text, text, int, text, text, text, int) is $$
@behavior -*
Trains exponential smoothing with error, trend and season (Holt and Winters), one model per group, as ets() of R.
Parameters and initial state have the greatest likelihood. `seasonal_period` is the number of rows in a cycle (7 for
days with a weekly cycle; the seasons of a cycle longer than 24 are those of the first cycles). `trend`: `none`,
`additive`, `damped`; `seasonal`: `none`, `additive`, `multiplicative`; `auto` chooses the shape with the least
corrected Akaike criterion. Multiplicative errors and seasons are considered where all values are above 0.
`optimizer_params` fixes parameters and the state before the first row: `alpha=0.3, level=99`. Rows are in the order of
time, one per step; a null is a gap.
Every model is compared with the seasonal-naive forecast, the last known value of each position in the cycle. `mase` is
the mean absolute one-step error over that of the naive forecast (below 1 is better). `holdout_mae` and
`holdout_naive_mae` are the mean absolute errors of both on the last `holdout` rows (by default a cycle or a tenth of
the rows), with the chosen shape fitted to the rows before; null without a holdout. Where trend and season are `auto`
and the naive forecast is the better one there, it becomes the model; `method` is then `naive` or `seasonal naive`.
Forecasts of series of whole numbers from 0 on are not below 0.
Writes `output_table`: the grouping columns, `model` (parameters and state), `method` such as `ETS(A,Ad,A)` (error,
trend, season), `seasonal_period`, `alpha`, `beta`, `gamma`, `phi`, `residual_variance` (of relative errors if these are
multiplicative), `aicc`, `num_rows_processed`, `num_missing_rows_skipped`, `last_time`, `mae`, `mase`, `holdout_rows`,
`holdout_mae`, `holdout_naive_mae`, `last_cycle`, `failure`. A group without a model has its reason in `failure`;
without groups it is an error.
Errors: CF001, CF002, CF003 (`output_table` exists), CF004 (too few rows), CF005.
Source: Hyndman, Koehler, Ord and Snyder, Forecasting with Exponential Smoothing, 2008; Hyndman and Koehler, Another
look at measures of forecast accuracy, 2006. Compared with ets() of R 4.2.2 in `src/sql/ml/forecasts/README.md`.
$$;

grant execute on function ml.ets_train(text, text, text, text, text, int, text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
