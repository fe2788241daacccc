create or replace function ml._evaluate(predicted text, task text)
returns jsonb
language plpgsql
volatile
set client_min_messages to warning
as $$
declare
  v_measured constant text := ml._temporary('_ml_measured');
  v_metrics jsonb := '{}';
  v_measure text;
  v_value float8;
  v_seen record;
begin
  execute format(
    'select count(*) as row_count, avg(observed) as mean, min(observed) as least, max(observed) as greatest,
      count(*) filter (where observed = round(observed)) as classes
     from %s where prediction is not null and observed is not null',
    predicted
  ) into v_seen;
  if v_seen.row_count = 0 then
    perform common.refuse('CF004', 'no row has both a prediction and a label',
      'A model is judged by rows whose label is known.');
  end if;
  foreach v_measure in array case task
    when 'classification' then array['area_under_roc', 'average_precision', 'log_loss', 'brier_score']
    else array['root_mean_squared_error', 'mean_abs_error', 'r2_score']
  end loop
    execute format('drop table if exists %s', v_measured);
    if v_seen.least = v_seen.greatest and v_measure in ('area_under_roc', 'average_precision', 'r2_score') then
      continue;
    end if;
    execute format('select ml.%I(%L, %L, ''prediction'', ''observed'')', v_measure, predicted, v_measured);
    execute format('select %I from %s', v_measure, v_measured) into v_value;
    v_metrics := v_metrics || jsonb_build_object(v_measure, v_value);
  end loop;
  if task = 'classification' then
    execute format('drop table if exists %s', v_measured);
    execute format('select ml.calibration_curve(%L, %L, ''prediction'', ''observed'', null, 10, ''quantile'')',
      predicted, v_measured);
    execute format('select sum(num_rows * abs(mean_predicted - fraction_positive)) / sum(num_rows) from %s',
      v_measured) into v_value;
    v_metrics := v_metrics || jsonb_build_object('calibration_error', v_value);
  end if;
  execute format('drop table if exists %s', v_measured);
  return v_metrics || jsonb_build_object('row_count', v_seen.row_count, 'mean_observed', v_seen.mean);
end;
$$;

comment on function ml._evaluate(text, text) is $$
All metrics of a table of `prediction` and `observed`, as one object:
those that its rows do not allow (one class only) are left out.
`calibration_error` is the mean distance of predicted and observed share over ten bins of equal numbers of rows. Errors:
CF001 (no probabilities, no classes), CF004 (no rows).
$$;

grant execute on function ml._evaluate(text, text) to insights_admin, insights_worker;
