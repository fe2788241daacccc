create or replace function ml.seasonal_naive_forecast(
  input_table text,
  output_table text,
  timestamp_column text,
  timeseries_column text,
  steps_ahead int,
  seasonal_period int default 1,
  grouping_columns text default null,
  confidence float8 default 0.95
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
  v_z float8;
  v_failure text;
begin
  perform common.check_count('steps_ahead', steps_ahead, 1, 10000);
  perform common.check_count('seasonal_period', seasonal_period, 1, 1000);
  if confidence is null or not (confidence > 0 and confidence < 1) then
    perform common.refuse('CF001', format('confidence is %s', coalesce(confidence::text, 'null')),
      'Give a number between 0 and 1, such as 0.95.');
  end if;
  v_z := ml.normal_quantile((1 + confidence) / 2);
  perform ml._read_series(v_relation, timestamp_column, timeseries_column, v_groups);
  if v_groups = '{}' then
    select coalesce(source._failure, case
      when cardinality(source._series) <= seasonal_period then
        format('%s rows are too few for a cycle of %s', cardinality(source._series), seasonal_period)
    end)
    into v_failure
    from pg_temp._ml_series as source;
    if v_failure is not null then
      perform ml._refuse_series(v_failure, v_relation::text);
    end if;
  end if;
  perform ml._create_table(format(
    $query$
    create table %1$s as
    select
      %2$s step_ahead, forecast_value,
      forecast_value - %3$L::float8 * spread as lower,
      forecast_value + %3$L::float8 * spread as upper
    from pg_temp._ml_series
    cross join lateral ml._naive_cycle(_series, %4$s) as naive
    cross join generate_series(1, %5$s) as step_ahead
    cross join lateral (
      select
        naive.cycle[(step_ahead - 1) %% %4$s + 1] as forecast_value,
        naive.deviation * sqrt(naive.ages[(step_ahead - 1) %% %4$s + 1] + (step_ahead - 1) / %4$s) as spread
    ) as ahead
    where _failure is null
      and cardinality(_series) > %4$s
      and forecast_value is not null
    order by %2$s step_ahead
    $query$,
    v_output,
    (
      select coalesce(string_agg(name || ', ', '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position)
    ),
    v_z,
    seasonal_period,
    steps_ahead
  ));
  drop table pg_temp._ml_series;
end;
$$;

comment on function ml.seasonal_naive_forecast(text, text, text, text, int, int, text, float8) is $$
@behavior -*
Writes the seasonal-naive forecast, the baseline of all other methods: the last known value of each position in a cycle.
`seasonal_period` is the length of a cycle in rows; with 1 the forecast is the last known value. Writes `output_table`:
the grouping columns, `step_ahead`, `forecast_value`, `lower`, `upper`. The variance is that of the changes from cycle
to cycle, multiplied by the number of cycles since the value; null when no position is known twice. A group that is not
longer than a cycle, has two rows with the same time, values beyond 1e100 or no value has no rows.
Errors: CF001, CF002, CF003 (`output_table` exists), CF004 (not longer than a period), CF005.
Source: Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 2021, sections 5.2 and 5.5.
$$;

grant execute on function ml.seasonal_naive_forecast(text, text, text, text, int, int, text, float8)
to insights_analyst, insights_admin, insights_worker;
