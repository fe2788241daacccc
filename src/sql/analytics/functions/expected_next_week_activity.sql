/* A definer of insights_reader: it reads what people did, and is granted to those who may see people. */
create or replace function analytics.expected_next_week_activity(course text, as_of timestamptz default now(), top int default 50)
returns setof analytics.learner_prediction
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  select * from analytics._predict_learners('activity', $1, $2, $3, true);
$$;

alter function analytics.expected_next_week_activity(text, timestamptz, int) owner to insights_reader;

comment on function analytics.expected_next_week_activity(text, timestamptz, int) is $$
How active the learners of a course will be next week.
`score` is the expected number of days, of the horizon's (`analytics.prediction_target`; 7), on which something is done in the course.
Everybody who takes the course as of the time, and was not idle for longer than the `longest_idle` of the target, is scored from events before it only; the `top` learners with least come with the five features that moved their score most,
exact shares of its distance from the mean. The model is the one in force of the project `analytics.activity`, trained by `analytics.train_predictions`.
People who object to the purpose `analytics` are left out. Errors: CF001 (as_of, top), CF002 (no such course), CF006 (not trained yet).
$$;

grant execute on function analytics.expected_next_week_activity(text, timestamptz, int) to insights_admin, insights_worker;
