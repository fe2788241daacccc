create or replace function ml._temporary(name text)
returns text
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The schema of temporary tables exists from the first one on.
  if pg_catalog.pg_my_temp_schema() = 0 then
    create temporary table _ml_first ();
    drop table pg_temp._ml_first;
  end if;
  return format('%I.%I', (select nspname from pg_catalog.pg_namespace where oid = pg_catalog.pg_my_temp_schema()), name);
end;
$$;

comment on function ml._temporary(text) is $$The qualified name of a temporary table of the session, made or to be made.$$;

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
    'select count(*) as row_count, avg(observed) as mean, min(observed) as least, max(observed) as greatest, count(*) filter (where observed = round(observed)) as classes
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
    execute format('select ml.calibration_curve(%L, %L, ''prediction'', ''observed'', null, 10, ''quantile'')', predicted, v_measured);
    execute format('select sum(num_rows * abs(mean_predicted - fraction_positive)) / sum(num_rows) from %s', v_measured) into v_value;
    v_metrics := v_metrics || jsonb_build_object('calibration_error', v_value);
  end if;
  execute format('drop table if exists %s', v_measured);
  return v_metrics || jsonb_build_object('row_count', v_seen.row_count, 'mean_observed', v_seen.mean);
end;
$$;

comment on function ml._evaluate(text, text) is $$
All metrics of a table of `prediction` and `observed`, as one object: those that its rows do not allow (one class only) are left out.
`calibration_error` is the mean distance of predicted and observed share over ten bins of equal numbers of rows. Errors: CF001 (no probabilities, no classes), CF004 (no rows).
$$;

create or replace function ml._fit_calibration(predicted text, method text)
returns jsonb
language plpgsql
volatile
as $$
declare
  v_slope float8 := 0;
  v_intercept float8 := 0;
  v_step_slope float8;
  v_step_intercept float8;
  v_loss float8 := 'Infinity';
  v_step record;
  v_block record;
  v_scores float8[] := '{}';
  v_weights float8[] := '{}';
  v_answers float8[] := '{}';
  v_places int := 0;
  v_score float8;
  v_answer float8;
  v_weight float8;
begin
  if method = 'platt' then
    -- Newton's steps on the log likelihood of Platt's softened targets, which keeps separable data finite; a step too far is halved.
    for v_round in 1..100 loop
      execute format(
        $query$
        with total as (
          select sum(observed)::float8 as positives, (count(*) - sum(observed))::float8 as negatives from %1$s
        ), fitted as (
          select
            score, $1 * score + $2 as logit,
            1 / (1 + exp(-least(greatest($1 * score + $2, -700), 700))) as p,
            case when observed = 1 then (positives + 1) / (positives + 2) else 1 / (negatives + 2) end as target
          from %1$s
          cross join total
        ), summed as (
          select
            sum(greatest(logit, 0) - target * logit + ln(1 + exp(-abs(logit)))) as loss,
            sum((p - target) * score) as g1, sum(p - target) as g0,
            sum(p * (1 - p) * score * score) + 1e-9 as h11, sum(p * (1 - p) * score) as h10, sum(p * (1 - p)) + 1e-9 as h00
          from fitted
        )
        select loss, (h00 * g1 - h10 * g0) / nullif(h11 * h00 - h10 * h10, 0) as slope, (h11 * g0 - h10 * g1) / nullif(h11 * h00 - h10 * h10, 0) as intercept
        from summed
        $query$,
        predicted
      ) into v_step using v_slope, v_intercept;
      if v_step.loss > v_loss + 1e-9 * abs(v_loss) then
        v_step_slope := v_step_slope / 2;
        v_step_intercept := v_step_intercept / 2;
        v_slope := v_slope + v_step_slope;
        v_intercept := v_intercept + v_step_intercept;
      else
        exit when v_step.slope is null;
        v_loss := v_step.loss;
        v_step_slope := v_step.slope;
        v_step_intercept := v_step.intercept;
        v_slope := v_slope - v_step_slope;
        v_intercept := v_intercept - v_step_intercept;
      end if;
      exit when abs(v_step_slope) + abs(v_step_intercept) < 1e-10;
    end loop;
    return jsonb_build_object('method', 'platt', 'slope', v_slope, 'intercept', v_intercept);
  end if;

  -- Pool adjacent violators: a block that is below the one before it is merged with it, until the answers ascend.
  for v_block in execute format('select score, avg(observed)::float8 as answer, count(*)::float8 as weight from %s group by score order by score', predicted) loop
    v_score := v_block.score;
    v_answer := v_block.answer;
    v_weight := v_block.weight;
    while v_places > 0 and v_answers[v_places] >= v_answer loop
      v_score := (v_scores[v_places] * v_weights[v_places] + v_score * v_weight) / (v_weights[v_places] + v_weight);
      v_answer := (v_answers[v_places] * v_weights[v_places] + v_answer * v_weight) / (v_weights[v_places] + v_weight);
      v_weight := v_weights[v_places] + v_weight;
      v_places := v_places - 1;
    end loop;
    v_places := v_places + 1;
    v_scores[v_places] := v_score;
    v_answers[v_places] := v_answer;
    v_weights[v_places] := v_weight;
  end loop;
  return jsonb_build_object('method', 'isotonic', 'scores', to_jsonb(v_scores[1:v_places]), 'answers', to_jsonb(v_answers[1:v_places]));
end;
$$;

comment on function ml._fit_calibration(text, text) is $$
The calibration that turns the raw scores of a table of `score` and `observed` (0 and 1) into probabilities.
`platt`: a logistic curve (Platt, Probabilistic outputs for support vector machines, 1999), fitted by Newton's method. `isotonic`: the ascending
step function with the least squared error, by pooling adjacent violators (Zadrozny and Elkan, KDD 2002), joined by lines.
$$;

grant execute on function ml._temporary(text), ml._evaluate(text, text), ml._fit_calibration(text, text) to insights_admin, insights_worker;
