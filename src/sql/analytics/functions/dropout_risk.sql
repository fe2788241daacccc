/* A definer of insights_reader: it reads what people did, and is granted to those who may see people. */
create or replace function analytics.dropout_risk(course text, as_of timestamptz default now(), top int default 50)
returns setof analytics.learner_prediction
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  select * from analytics._predict_learners('dropout', $1, $2, $3, false);
$$;

alter function analytics.dropout_risk(text, timestamptz, int) owner to insights_reader;

comment on function analytics.dropout_risk(text, timestamptz, int) is $$
Who is about to drop out of a course, and why.
`score` is the probability that nothing more is done in the course within the horizon (`analytics.prediction_target`; 14 days), or that it is dropped, without being completed.
Everybody who takes the course as of the time, and was not idle for longer than the `longest_idle` of the target, is scored from events before it only; the `top` learners most at risk come with the five features that moved their score most,
exact shares of its distance from the mean. The model is the one in force of the project `analytics.dropout`, trained by `analytics.train_predictions`.
People who object to the purpose `analytics` are left out. Errors: CF001 (as_of, top), CF002 (no such course), CF006 (not trained yet).
$$;

grant execute on function analytics.dropout_risk(text, timestamptz, int) to insights_admin, insights_worker;
