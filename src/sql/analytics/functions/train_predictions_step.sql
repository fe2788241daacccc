/*
 * A training by steps, each of which may be a transaction of its own: the looks at the learners of some courses, or one
 * method. The whole training (analytics.train_predictions) takes the same steps.
 */
create or replace function analytics._lock_training(seed bigint)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  if seed is null then
    perform common.refuse('CF001', 'the seed is null', 'Give a number: the same seed and data give the same model.');
  end if;
  if not pg_try_advisory_xact_lock(hashtext('analytics.train_predictions')) then
    perform common.refuse('CF010', 'predictions are being trained already', 'Wait until that is done.');
  end if;
end;
$$;

comment on function analytics._lock_training(bigint) is $$Holds the one training of predictions until the transaction ends. Errors: CF001 (no seed), CF010.$$;

create or replace function analytics._begin_training(asked analytics.question, seed bigint)
returns analytics.training
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_training analytics.training;
begin
  perform analytics._end_training((asked).question);
  insert into analytics.training (question, seed, moments, courses_left, algorithms_left)
  select
    (asked).question, _begin_training.seed, analytics._look_times(asked, (asked).weeks),
    array(select distinct enrolment.item_id from track.enrolment join track.item on item.item_id = enrolment.item_id and item.kind = 'course' order by 1),
    -- Both kinds, so that the better one is deployed whatever the data are like, and one is when the other cannot be had.
    array['elastic_net', 'gbm']
  returning * into v_training;
  return v_training;
end;
$$;

comment on function analytics._begin_training(analytics.question, bigint) is $$Begins the training of a question; what was begun before is forgotten.$$;

create or replace function analytics._end_training(question text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  delete from analytics.look where look.question = _end_training.question;
  delete from analytics.training where training.question = _end_training.question;
end;
$$;

comment on function analytics._end_training(text) is $$Forgets the looks and the progress of a training.$$;

create or replace function analytics._train_on_looks(asked analytics.question, algorithm text, seed bigint)
returns ml.training
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to warning
as $$
declare
  v_trained ml.training;
begin
  drop table if exists pg_temp.learner_look;
  -- In one order, whatever order they were written in, since sums of floating-point numbers depend on it.
  create temporary table learner_look on commit drop as
  select
    format('%s/%s/%s', look.person_id, look.course_id, look.as_of::date) as look, (look.feature).*,
    look.outcome, look.as_of + (asked).horizon as outcome_known_at
  from analytics.look
  where look.question = (_train_on_looks.asked).question
  order by look.course_id, look.as_of, look.person_id;
  select *
  into v_trained
  from ml.train(
    (asked).project, (asked).task,
    format('%I.learner_look', (select nspname from pg_catalog.pg_namespace where oid = pg_catalog.pg_my_temp_schema())),
    'look', 'outcome',
    features => analytics._look_list(),
    algorithm => _train_on_looks.algorithm,
    parameters => case _train_on_looks.algorithm
      when 'gbm' then '{"num_trees": 200, "max_depth": 3, "learning_rate": 0.1, "min_rows": 20, "lambda": 5, "row_sample": 0.8, "feature_sample": 0.6, "max_bins": 32}'::jsonb
      else '{"alpha": 0, "lambda_value": 0.01}'::jsonb
    end,
    predicted_at => 'as_of',
    label_known_at => 'outcome_known_at',
    feature_known_at => 'known_at',
    group_column => 'person_id',
    calibration => case (asked).task when 'classification' then 'platt' else 'none' end,
    metric => case (asked).task when 'classification' then 'log_loss' else 'root_mean_squared_error' end,
    seed => _train_on_looks.seed,
    description => (asked).description
  );
  drop table if exists pg_temp.learner_look;
  return v_trained;
end;
$$;

comment on function analytics._train_on_looks(analytics.question, text, bigint) is $$
Trains a version on the looks of a question by one method, and deploys it when it is better. Errors: see ml.train.
$$;

create or replace function analytics._train_step(asked analytics.question, progress analytics.training)
returns analytics.training_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- So many looks at most are written in one step, but those of one course at least.
  v_most constant int := 4000;
  v_courses bigint[];
  v_seen record;
  v_step analytics.training_step;
begin
  v_step.question := (asked).question;
  if cardinality((progress).courses_left) > 0 then
    select array_agg(counted.course_id order by counted.place)
    into v_courses
    from (
      select listed.course_id, listed.place, sum(count(enrolment.person_id)) over (order by listed.place) as takers
      from unnest((progress).courses_left) with ordinality as listed (course_id, place)
      left join track.enrolment on enrolment.item_id = listed.course_id
      group by listed.course_id, listed.place
    ) as counted
    where counted.place = 1
      or counted.takers * cardinality((progress).moments) <= v_most;
    insert into analytics.look
    select * from analytics._looks(asked, (progress).moments, v_courses);
    update analytics.training
    set courses_left = training.courses_left[cardinality(v_courses) + 1:]
    where training.question = v_step.question;
    v_step.step := format('looked at the learners of %s courses', cardinality(v_courses));
    return v_step;
  end if;

  select count(*) as looks, count(distinct outcome) as outcomes, least(count(*) filter (where outcome > 0), count(*) filter (where outcome = 0)) as rarer
  into v_seen
  from analytics.look
  where look.question = v_step.question;
  if v_seen.looks < (asked).fewest_rows or v_seen.outcomes < 2 or v_seen.rarer < 10 then
    v_step.step := format('too little is known to learn from: %s looks at learners, %s of the rarer outcome', v_seen.looks, v_seen.rarer);
    v_step.hint := format(
      'At least %s looks and 10 of the rarer outcome are needed. Looks are weekly and %s long: import enrolments with track.sync_enrolments and a few weeks of events.',
      (asked).fewest_rows, (asked).horizon
    );
    v_step.finished := true;
  else
    begin
      v_step.trained := analytics._train_on_looks(asked, (progress).algorithms_left[1], (progress).seed);
      v_step.step := format('trained %s', (progress).algorithms_left[1]);
    exception when sqlstate 'CF004' or sqlstate 'CF007' then
      get stacked diagnostics v_step.step = message_text, v_step.hint = pg_exception_hint;
      raise warning 'analytics.train_predictions: % by %: %', v_step.question, (progress).algorithms_left[1], v_step.step;
      v_step.step := format('nothing could be learned about %s: %s', v_step.question, v_step.step);
    end;
    v_step.finished := cardinality((progress).algorithms_left) = 1;
    update analytics.training set algorithms_left = training.algorithms_left[2:] where training.question = v_step.question;
  end if;
  if v_step.finished then
    perform analytics._end_training(v_step.question);
  end if;
  return v_step;
end;
$$;

comment on function analytics._train_step(analytics.question, analytics.training) is $$
The next step of a training: looks at the learners of some more courses, or one method. `finished` on the last one.
$$;

/* A definer: see analytics.train_predictions. */
create or replace function analytics.train_predictions_step(seed bigint default 0)
returns analytics.training_step
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_most_people constant int := 50;
  v_sessions bigint;
  v_activity bigint;
  v_question analytics.question;
  v_step analytics.training_step;
begin
  perform analytics._lock_training(train_predictions_step.seed);
  -- A training that started on another day, or with another seed, is about other data.
  if not exists (
    select
    from analytics.training
    where training.seed = train_predictions_step.seed
      and training.begun_at >= date_trunc('day', now() at time zone 'UTC') at time zone 'UTC'
  ) then
    -- Not to the last event, which may never come: until a step finds fewer people than it may refresh.
    v_sessions := (select sum(people) from track.refresh(v_most_people, 'track.session'));
    v_activity := (select sum(people) from track.refresh(v_most_people, 'analytics.activity'));
    if greatest(v_sessions, v_activity) >= v_most_people then
      v_step.step := format('refreshed %s people', greatest(v_sessions, v_activity));
      v_step.finished := false;
      return v_step;
    end if;
    perform analytics._end_training(training.question) from analytics.training;
    perform analytics._begin_training(entry, train_predictions_step.seed) from analytics.question as entry order by entry.question;
  end if;
  select * into v_question from analytics.question as entry where entry.question = (select min(training.question) from analytics.training);
  v_step := analytics._train_step(v_question, (select training from analytics.training where training.question = v_question.question));
  v_step.finished := not exists (select from analytics.training);
  return v_step;
end;
$$;

comment on function analytics.train_predictions_step(bigint) is $$
@behavior -*
Does the next step of analytics.train_predictions for all questions: call it until it is `finished`.
Each call is bounded (the refresh of some people, a share of the courses, or one method),
and takes up where the last one that was committed ended, for who shares one session with others, as in the embedded database. The models are the same.
Errors: CF001, CF010 (running already).
$$;

grant execute on function analytics.train_predictions_step(bigint) to insights_admin, insights_worker;
