/* A definer of insights_reader: it reads what people did, and is granted to those who may see people. */
create or replace function analytics.completion_probability(course text, as_of timestamptz default now(), top int default 50)
returns setof analytics.learner_prediction
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  select * from analytics._predict_learners('completion', $1, $2, $3, true);
$$;

alter function analytics.completion_probability(text, timestamptz, int) owner to insights_reader;

comment on function analytics.completion_probability(text, timestamptz, int) is $$
Who will complete a course soon, and what speaks against it.
`score` is the probability that the course is completed within the horizon (`analytics.prediction_target`; 28 days).
Everybody who takes the course as of the time, and was not idle for longer than the `longest_idle` of the target, is scored from events before it only; the `top` learners least likely to come with the five features that moved their score most,
exact shares of its distance from the mean. The model is the one in force of the project `analytics.completion`, trained by `analytics.train_predictions`.
People who object to the purpose `analytics` are left out. Errors: CF001 (as_of, top), CF002 (no such course), CF006 (not trained yet).
$$;

grant execute on function analytics.completion_probability(text, timestamptz, int) to insights_admin, insights_worker;
