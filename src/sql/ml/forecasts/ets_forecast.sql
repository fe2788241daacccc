create or replace function ml.ets_forecast(
  model_table text,
  output_table text,
  steps_ahead int,
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
  v_model regclass := common.relation(model_table);
  v_output text := common.output_table(output_table);
  v_groups text[];
  v_z float8;
begin
  perform common.check_count('steps_ahead', steps_ahead, 1, 10000);
  if confidence is null or not (confidence > 0 and confidence < 1) then
    perform common.refuse('CF001', format('confidence is %s', coalesce(confidence::text, 'null')),
      'Give a number between 0 and 1, such as 0.95.');
  elsif not common.columns(v_model) @> array['model', 'last_cycle', 'seasonal_period', 'mase'] then
    perform common.refuse('CF002', format('"%s" is not a model of ml.ets_train', left(model_table, 100)),
      'Give the output table of ml.ets_train.');
  end if;
  -- The columns before the model are the grouping columns.
  v_groups := array(
    select quote_ident(name)
    from unnest(common.columns(v_model)) with ordinality as stored (name, position)
    where position < array_position(common.columns(v_model), 'model')
    order by position
  );
  v_z := ml.normal_quantile((1 + confidence) / 2);
  execute format(
    $query$
    create table %1$s as
    select
      %2$s ahead.step as step_ahead,
      case when (model ->> 'log')::boolean then exp(forecast) else forecast end as forecast_value,
      case when (model ->> 'log')::boolean then exp(bounds.lower) else bounds.lower end as lower,
      case when (model ->> 'log')::boolean then exp(bounds.upper) else bounds.upper end as upper,
      last_cycle[(ahead.step - 1) %% seasonal_period + 1] as naive_value
    from %4$s as trained
    cross join lateral ml._ets_ahead(model, %5$s) as ahead
    cross join lateral (
      select forecast - %3$L::float8 * deviation as lower, forecast + %3$L::float8 * deviation as upper
    ) as bounds
    order by %2$s ahead.step
    $query$,
    v_output,
    (
      select coalesce(string_agg('trained.' || name || ', ', '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position)
    ),
    v_z,
    v_model,
    steps_ahead
  );
end;
$$;

comment on function ml.ets_forecast(text, text, int, float8) is $$
@behavior -*
Writes the forecasts of a model of ml.ets_train, with prediction intervals and the seasonal-naive forecast.
Writes `output_table`: the grouping columns, `step_ahead` (1 is the row after the last), `forecast_value`, `lower` and
`upper` (an interval that contains the value with probability `confidence` if errors are normal; for a multiplicative
season the median and its interval), and `naive_value`, the value one cycle ago.
Errors: CF001, CF002 (not a model), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.ets_forecast(text, text, int, float8) to insights_admin, insights_worker;
