create or replace function ml._evaluate_classes(predicted text, classes text[])
returns jsonb
language plpgsql
volatile
set client_min_messages to warning
as $$
declare
  v_each constant text := ml._temporary('_ml_each_class');
  v_measured constant text := ml._temporary('_ml_measured');
  v_metrics jsonb;
  v_error float8;
begin
  execute format(
    $query$
    with answer as materialized (
      select observed, prediction,
        $1[array_position(prediction, (select max(share) from unnest(prediction) as share))] as predicted
      from %s
      where prediction is not null
        and observed is not null
    ), by_class as (
      select class, count(*) filter (where observed = class and predicted = class) as hits,
        count(*) filter (where observed = class) + count(*) filter (where predicted = class) as named
      from answer
      cross join lateral (select observed union select predicted) as listed (class)
      group by class
    )
    select jsonb_build_object(
      'log_loss', avg(-ln(greatest(coalesce(prediction[array_position($1, observed)], 0), 1e-15))),
      'accuracy', avg((observed = predicted)::int::float8),
      'macro_f1', (select avg(2 * hits::float8 / named) from by_class),
      'row_count', count(*)
    )
    from answer
    having count(*) > 0
    $query$,
    predicted
  ) into v_metrics using classes;
  if v_metrics is null then
    perform common.refuse('CF004', 'no row has both a prediction and a label',
      'A model is judged by rows whose label is known.');
  end if;
  execute format('drop table if exists %s, %s', v_each, v_measured);
  execute format(
    'create temporary table _ml_each_class on commit drop as
     select place, share, (observed = $1[place])::int as hit from %s
     cross join lateral unnest(prediction) with ordinality as listed (share, place)
     where prediction is not null and observed is not null',
    predicted
  ) using classes;
  execute format('select ml.calibration_curve(%L, %L, ''share'', ''hit'', ''place'', 10, ''quantile'')', v_each,
    v_measured);
  execute format('select sum(num_rows * abs(mean_predicted - fraction_positive)) / sum(num_rows) from %s', v_measured)
    into v_error;
  execute format('drop table if exists %s, %s', v_each, v_measured);
  return v_metrics || jsonb_build_object('calibration_error', v_error);
end;
$$;

comment on function ml._evaluate_classes(text, text[]) is $$
The metrics of a table of `prediction`, probabilities in the order of the classes, and `observed`, a class.
`log_loss` keeps probabilities 1e-15 away from 0, which is also that of a class that the model does not know;
`macro_f1` is the mean of F1 over the classes that are observed or predicted; `calibration_error` is the mean over the
classes of the distance of predicted and observed share over ten bins of equal numbers of rows. Error CF004 (no rows).
Source of `calibration_error`: Kull and others, Beyond temperature scaling, NeurIPS 2019 (classwise).
$$;

grant execute on function ml._evaluate_classes(text, text[]) to insights_admin, insights_worker;
