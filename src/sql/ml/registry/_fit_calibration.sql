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
    -- Newton's steps on the log likelihood of Platt's softened targets, which keeps separable data finite; a step too
    -- far is halved.
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
            sum(p * (1 - p) * score * score) + 1e-9 as h11, sum(p * (1 - p) * score) as h10,
              sum(p * (1 - p)) + 1e-9 as h00
          from fitted
        )
        select loss, (h00 * g1 - h10 * g0) / nullif(h11 * h00 - h10 * h10, 0) as slope,
          (h11 * g0 - h10 * g1) / nullif(h11 * h00 - h10 * h10, 0) as intercept
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
  for v_block in execute format('select score, avg(observed)::float8 as answer, count(*)::float8 as weight from %s
      group by score order by score', predicted) loop
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
  return jsonb_build_object('method', 'isotonic', 'scores', to_jsonb(v_scores[1:v_places]), 'answers',
    to_jsonb(v_answers[1:v_places]));
end;
$$;

comment on function ml._fit_calibration(text, text) is $$
The calibration that turns the raw scores of a relation of `score` and `observed` (0 and 1) into probabilities.
`platt`: a logistic curve (Platt, Probabilistic outputs for support vector machines, 1999), fitted by Newton's method.
`isotonic`: the ascending step function with the least squared error, by pooling adjacent violators (Zadrozny and
Elkan, KDD 2002), joined by lines.
$$;

grant execute on function ml._fit_calibration(text, text) to insights_admin, insights_worker;
