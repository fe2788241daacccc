create or replace function ml.arima_forecast(
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
  v_summary text;
  v_groups text[];
begin
  perform common.check_count('steps_ahead', steps_ahead, 1, 10000);
  if confidence is null or not (confidence > 0 and confidence < 1) then
    perform common.refuse('CF001', format('confidence is %s', coalesce(confidence::text, 'null')),
      'Give a number between 0 and 1, such as 0.95.');
  end if;
  select format('%I.%I', namespace.nspname, class.relname || '_summary')
  into v_summary
  from pg_catalog.pg_class as class
  join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where class.oid = v_model;
  if not 'ar_params' = any (common.columns(v_model))
    or to_regclass(v_summary) is null
    or not coalesce('state_covariance' = any (common.columns(to_regclass(v_summary))), false)
  then
    perform common.refuse('CF002', format('"%s" is not a model of ml.arima_train', left(model_table, 100)),
      'Give the output table of ml.arima_train with its summary table; train models of earlier releases again.');
  end if;
  -- The columns before the mean are the grouping columns.
  v_groups := array(
    select quote_ident(name)
    from unnest(common.columns(v_model)) with ordinality as stored (name, position)
    where position < array_position(common.columns(v_model), 'mean')
    order by position
  );
  perform ml._create_table(format(
    $query$
    create table %1$s as
    select
      %2$s ahead.step as step_ahead,
      ahead.forecast as forecast_value,
      ahead.forecast - %3$L::float8 * ahead.deviation * sqrt(summary.residual_variance) as lower,
      ahead.forecast + %3$L::float8 * ahead.deviation * sqrt(summary.residual_variance) as upper
    from %4$s as model
    join %5$s as summary on %6$s
    cross join lateral ml._arima_ahead(
      model.ar_params, model.ma_params, coalesce(model.mean, 0), summary.non_seasonal_orders[2], summary.state,
      summary.state_covariance, %7$s
    ) as ahead
    where summary.state is not null
    order by %2$s ahead.step
    $query$,
    v_output,
    (
      select coalesce(string_agg('model.' || name || ', ', '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position)
    ),
    ml.normal_quantile((1 + confidence) / 2),
    v_model,
    v_summary,
    (
      select coalesce(string_agg(format('model.%1$s is not distinct from summary.%1$s', name), ' and '), 'true')
      from unnest(v_groups) as name
    ),
    steps_ahead
  ));
end;
$$;

comment on function ml.arima_forecast(text, text, int, float8) is $$
@behavior -*
Writes the forecasts of a model of ml.arima_train, with prediction intervals.
Writes `output_table`: the grouping columns, `step_ahead` (1 is the row after the last), `forecast_value`, `lower` and
`upper` (an interval that contains the value with probability `confidence` if errors are normal and the parameters
exact). A group without a model has no rows.
Errors: CF001, CF002 (not a model), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.arima_forecast(text, text, int, float8)
to insights_analyst, insights_admin, insights_worker;
