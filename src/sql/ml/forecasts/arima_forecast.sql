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
  v_row record;
  v_state record;
  v_mean float8;
  v_values float8[];
  v_errors float8[];
  v_psi float8[];
  v_weight float8;
  v_spread float8 := 0;
  v_levels float8[];
  v_value float8;
  v_forecasts float8[] := '{}';
  v_deviations float8[] := '{}';
  v_z float8;
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
  if not 'ar_params' = any (common.columns(v_model)) or to_regclass(v_summary) is null then
    perform common.refuse('CF002', format('"%s" is not a model of ml.arima_train', left(model_table, 100)),
      'Give the output table of ml.arima_train; its summary table must exist, too.');
  end if;
  execute format('select mean, ar_params, ma_params from %s', v_model) into v_row;
  execute format('select residual_variance, last_values, last_errors, last_levels from %s', v_summary) into v_state;
  v_mean := coalesce(v_row.mean, 0);
  v_z := ml.normal_quantile((1 + confidence) / 2);
  -- Newest first.
  v_values := array(
    select value
    from unnest(v_state.last_values) with ordinality as entry (value, place)
    order by place desc
  );
  v_errors := array(
    select value
    from unnest(v_state.last_errors) with ordinality as entry (value, place)
    order by place desc
  );
  v_levels := v_state.last_levels;
  -- The psi weights: the effect of an error after 0, 1, 2, … steps. Each round of differencing accumulates them.
  v_psi := array[1]::float8[];
  for v_step in 1..steps_ahead loop
    v_weight := coalesce(v_row.ma_params[v_step], 0);
    for k in 1..least(cardinality(v_row.ar_params), v_step) loop
      v_weight := v_weight + v_row.ar_params[k] * v_psi[v_step - k + 1];
    end loop;
    v_psi := v_psi || v_weight;
  end loop;
  for v_round in 1..cardinality(v_levels) loop
    v_psi := array(
      select sum(weight) over (order by place)
      from unnest(v_psi) with ordinality as entry (weight, place)
      order by place
    );
  end loop;
  for v_step in 1..steps_ahead loop
    v_value := v_mean;
    for k in 1..cardinality(v_row.ar_params) loop
      v_value := v_value + v_row.ar_params[k] * (v_values[k] - v_mean);
    end loop;
    for k in 1..cardinality(v_row.ma_params) loop
      v_value := v_value + v_row.ma_params[k] * coalesce(v_errors[k], 0);
    end loop;
    v_values := v_value || v_values;
    v_errors := 0::float8 || v_errors;
    for v_round in reverse cardinality(v_levels)..1 loop
      v_levels[v_round] := v_levels[v_round] + v_value;
      v_value := v_levels[v_round];
    end loop;
    v_spread := v_spread + v_psi[v_step] ^ 2;
    v_forecasts := v_forecasts || v_value;
    v_deviations := v_deviations || sqrt(v_state.residual_variance * v_spread);
  end loop;
  execute format(
    $query$
    create table %1$s as
    select
      step_ahead::int,
      forecast_value,
      forecast_value - %2$L::float8 * deviation as lower,
      forecast_value + %2$L::float8 * deviation as upper
    from unnest(%3$L::float8[], %4$L::float8[]) with ordinality as ahead (forecast_value, deviation, step_ahead)
    $query$,
    v_output, v_z, v_forecasts, v_deviations
  );
end;
$$;

comment on function ml.arima_forecast(text, text, int, float8) is $$
@behavior -*
Writes the forecasts of a model of ml.arima_train, with prediction intervals.
Writes `output_table`: `step_ahead` (1 is the row after the last), `forecast_value`, `lower` and `upper` (an interval
that contains the value with probability `confidence` if errors are normal and the parameters exact).
Errors: CF001, CF002 (not a model), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.arima_forecast(text, text, int, float8) to insights_admin, insights_worker;
