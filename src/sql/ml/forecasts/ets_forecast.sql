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
begin
  perform common.check_count('steps_ahead', steps_ahead, 1, 10000);
  if confidence is null or not (confidence > 0 and confidence < 1) then
    perform common.refuse('CF001', format('confidence is %s', coalesce(confidence::text, 'null')),
      'Give a number between 0 and 1, such as 0.95.');
  elsif not common.columns(v_model) @> array['model', 'last_cycle', 'seasonal_period', 'mase', 'failure'] then
    perform common.refuse('CF002', format('"%s" is not a model of ml.ets_train', left(model_table, 100)),
      'Give the output table of ml.ets_train; a model of an earlier release is trained again.');
  end if;
  -- The columns before the model are the grouping columns.
  v_groups := array(
    select quote_ident(name)
    from unnest(common.columns(v_model)) with ordinality as stored (name, position)
    where position < array_position(common.columns(v_model), 'model')
    order by position
  );
  perform ml._create_table(format(
    $query$
    create table %1$s as
    select
      %2$s ahead.step as step_ahead, ahead.forecast as forecast_value, ahead.lower, ahead.upper,
      last_cycle[(ahead.step - 1) %% seasonal_period + 1] as naive_value
    from %4$s as trained
    cross join lateral ml._ets_interval(model, %5$s, %3$L) as ahead
    where model is not null
    order by %2$s ahead.step
    $query$,
    v_output,
    (
      select coalesce(string_agg('trained.' || name || ', ', '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position)
    ),
    confidence,
    v_model,
    steps_ahead
  ));
end;
$$;

comment on function ml.ets_forecast(text, text, int, float8) is $$
@behavior -*
Writes the forecasts of a model of ml.ets_train, with prediction intervals and the seasonal-naive forecast.
Writes `output_table`: the grouping columns, `step_ahead` (1 is the row after the last), `forecast_value`, `lower` and
`upper` (an interval that contains the value with probability `confidence` if errors are normal), and `naive_value`, the
last known value of this position in the cycle. A group without a model has no rows.
Errors: CF001, CF002 (not a model), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.ets_forecast(text, text, int, float8)
to insights_analyst, insights_admin, insights_worker;
