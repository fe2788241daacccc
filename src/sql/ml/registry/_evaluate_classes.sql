create or replace function ml._evaluate_classes(predicted text, classes text[])
returns jsonb
language plpgsql
volatile
as $$
declare
  v_metrics jsonb;
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
  return v_metrics;
end;
$$;

comment on function ml._evaluate_classes(text, text[]) is $$
The metrics of a table of `prediction`, probabilities in the order of the classes, and `observed`, a class.
`log_loss` keeps probabilities 1e-15 away from 0, which is also that of a class that the model does not know;
`macro_f1` is the mean of F1 over the classes that are observed or predicted. Error CF004 (no rows).
$$;

grant execute on function ml._evaluate_classes(text, text[]) to insights_admin, insights_worker;
