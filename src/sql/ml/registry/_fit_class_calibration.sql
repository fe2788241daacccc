create or replace function ml._fit_class_calibration(predicted text, method text, classes text[])
returns jsonb
language sql
volatile
as $$
  select jsonb_build_object('method', method, 'classes', jsonb_agg(
    ml._fit_calibration(
      format('(select %s as score, (observed = %L)::int as observed from %s where observed is not null) as one',
        format(case method when 'platt' then 'ml._log_odds(prediction[%s])' else 'prediction[%s]' end, class.place),
        class.name, predicted),
      method
    ) - 'method' order by class.place
  ))
  from unnest(classes) with ordinality as class (name, place);
$$;

comment on function ml._fit_class_calibration(text, text, text[]) is $$
The calibration of a model of several classes, each class against all others.
`predicted` is a table of `prediction`, probabilities in the order of the classes, and `observed`, a class: Platt's is
fitted to the log odds of the probabilities, the isotonic one to the probabilities.
Source: Zadrozny and Elkan, Transforming classifier scores into accurate multiclass probability estimates, KDD 2002.
$$;

grant execute on function ml._fit_class_calibration(text, text, text[]) to insights_admin, insights_worker;
