/* A definer owned by insights_reader: it reads the activity of people, and is granted to roles that may read it. */
create or replace function analytics.completion_probability(
  course text, as_of timestamptz default now(), top int default 50
)
returns setof analytics.learner_prediction
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_learners constant analytics.learner_prediction[] := array(
    select learner
    from analytics._predict_learners(
      'completion', completion_probability.course, completion_probability.as_of, completion_probability.top, true
    ) as learner
  );
begin
  perform privacy.record_disclosure(
    array(select learner.person_id from unnest(v_learners) as learner), 'analytics.completion_probability'
  );
  return query
  select learner.*
  from unnest(v_learners) as learner;
end;
$$;

alter function analytics.completion_probability(text, timestamptz, int) owner to insights_reader;

comment on function analytics.completion_probability(text, timestamptz, int) is $$
@behavior -mutationField +queryField
Returns the learners of a course who are least likely to complete it soon, with reasons.
`score` is the probability that the course is completed within the horizon (`analytics.prediction_target`; 28 days).
All learners are scored who take the course as of the time, and who have not been idle for longer than `longest_idle`
of the target. Only earlier events are used.
The `top` learners with the lowest scores are returned, each with the five features that changed the score most. The
contributions are exact shares of the distance of the score from the mean. The model is the deployed version of the
project `analytics.completion`, trained by `analytics.train_predictions`.
People who have opted out of the purpose `analytics` are excluded. Instructors call it for courses that they teach now;
their reasons do not contain activity outside of the course. Errors: CF001 (as_of, top), CF002 (unknown course, or one
that the instructor does not teach), CF006 (not trained).
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function analytics.completion_probability(text, timestamptz, int)
to insights_instructor, insights_admin, insights_worker;
