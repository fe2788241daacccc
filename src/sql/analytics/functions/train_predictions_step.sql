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

comment on function analytics._lock_training(bigint) is $$
Locks the training of predictions until the transaction ends. Errors: CF001 (no seed), CF010 (already running).
$$;

create or replace function analytics._begin_training(settings analytics.prediction_target, seed bigint)
returns analytics.training
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_training analytics.training;
begin
  perform analytics._end_training((settings).target);
  insert into analytics.training (target, seed, moments, courses_left, algorithms_left)
  select
    (settings).target, _begin_training.seed, analytics._snapshot_times(settings, (settings).weeks),
    array(select distinct enrolment.item_id from track.enrolment join track.item on item.item_id = enrolment.item_id and item.kind = 'course' order by 1),
    -- Both kinds, so that the better one is deployed whatever the data are like, and one is when the other cannot be had.
    array['elastic_net', 'gbm']
  returning * into v_training;
  return v_training;
end;
$$;

comment on function analytics._begin_training(analytics.prediction_target, bigint) is $$
Starts the training of a target; a training that was in progress is discarded.
$$;

create or replace function analytics._end_training(target text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  delete from analytics.snapshot where look.target = _end_training.target;
  delete from analytics.training where training.target = _end_training.target;
end;
$$;

comment on function analytics._end_training(text) is $$Deletes the snapshots and the progress of a training.$$;

create or replace function analytics._train_on_snapshots(settings analytics.prediction_target, algorithm text, seed bigint)
returns ml.training
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to warning
as $$
declare
  v_trained ml.training;
begin
  drop table if exists pg_temp.learner_snapshot;
  -- In one order, whatever order they were written in, since sums of floating-point numbers depend on it.
  create temporary table learner_snapshot on commit drop as
  select
    format('%s/%s/%s', look.person_id, look.course_id, look.as_of::date) as look, (look.feature).*,
    look.outcome, look.as_of + (settings).horizon as outcome_known_at
  from analytics.snapshot
  where look.target = (_train_on_snapshots.settings).target
  order by look.course_id, look.as_of, look.person_id;
  select *
  into v_trained
  from ml.train(
    (settings).project, (settings).task,
    format('%I.learner_snapshot', (select nspname from pg_catalog.pg_namespace where oid = pg_catalog.pg_my_temp_schema())),
    'look', 'outcome',
    features => analytics._feature_list(),
    algorithm => _train_on_snapshots.algorithm,
    parameters => case _train_on_snapshots.algorithm
      when 'gbm' then '{"num_trees": 200, "max_depth": 3, "learning_rate": 0.1, "min_rows": 20, "lambda": 5, "row_sample": 0.8, "feature_sample": 0.6, "max_bins": 32}'::jsonb
      else '{"alpha": 0, "lambda_value": 0.01}'::jsonb
    end,
    predicted_at => 'as_of',
    label_known_at => 'outcome_known_at',
    feature_known_at => 'known_at',
    group_column => 'person_id',
    calibration => case (settings).task when 'classification' then 'platt' else 'none' end,
    metric => case (settings).task when 'classification' then 'log_loss' else 'root_mean_squared_error' end,
    seed => _train_on_snapshots.seed,
    description => (settings).description
  );
  drop table if exists pg_temp.learner_snapshot;
  return v_trained;
end;
$$;

comment on function analytics._train_on_snapshots(analytics.prediction_target, text, bigint) is $$
Trains a version on the snapshots of a target with one algorithm, and deploys it when it is better.
Errors: see `ml.train`.
$$;

create or replace function analytics._train_step(settings analytics.prediction_target, progress analytics.training)
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
  v_step.target := (settings).target;
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
    insert into analytics.snapshot
    select * from analytics._snapshots(settings, (progress).moments, v_courses);
    update analytics.training
    set courses_left = training.courses_left[cardinality(v_courses) + 1:]
    where training.target = v_step.target;
    v_step.step := format('looked at the learners of %s courses', cardinality(v_courses));
    return v_step;
  end if;

  select count(*) as looks, count(distinct outcome) as outcomes, least(count(*) filter (where outcome > 0), count(*) filter (where outcome = 0)) as rarer
  into v_seen
  from analytics.snapshot
  where look.target = v_step.target;
  if v_seen.looks < (settings).fewest_rows or v_seen.outcomes < 2 or v_seen.rarer < 10 then
    v_step.step := format('too little is known to learn from: %s looks at learners, %s of the rarer outcome', v_seen.looks, v_seen.rarer);
    v_step.hint := format(
      'At least %s looks and 10 of the rarer outcome are needed. Looks are weekly and %s long: import enrolments with track.sync_enrolments and a few weeks of events.',
      (settings).fewest_rows, (settings).horizon
    );
    v_step.finished := true;
  else
    begin
      v_step.trained := analytics._train_on_snapshots(settings, (progress).algorithms_left[1], (progress).seed);
      v_step.step := format('trained %s', (progress).algorithms_left[1]);
    exception when sqlstate 'CF004' or sqlstate 'CF007' then
      get stacked diagnostics v_step.step = message_text, v_step.hint = pg_exception_hint;
      raise warning 'analytics.train_predictions: % by %: %', v_step.target, (progress).algorithms_left[1], v_step.step;
      v_step.step := format('nothing could be learned about %s: %s', v_step.target, v_step.step);
    end;
    v_step.finished := cardinality((progress).algorithms_left) = 1;
    update analytics.training set algorithms_left = training.algorithms_left[2:] where training.target = v_step.target;
  end if;
  if v_step.finished then
    perform analytics._end_training(v_step.target);
  end if;
  return v_step;
end;
$$;

comment on function analytics._train_step(analytics.prediction_target, analytics.training) is $$
Does the next step of a training: snapshots of the learners of some courses, or the training of one algorithm.
`finished` is true for the last step.
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
  v_target analytics.prediction_target;
  v_step analytics.training_step;
begin
  perform analytics._lock_training(train_predictions_step.seed);
  -- A training that started on another day, or with another seed, is about other data.
  if not exists (
    select
    from analytics.training
    where training.seed = train_predictions_step.seed
      and training.started_at >= date_trunc('day', now() at time zone 'UTC') at time zone 'UTC'
  ) then
    -- Not to the last event, which may never come: until a step finds fewer people than it may refresh.
    v_sessions := (select sum(people) from track.refresh(v_most_people, 'track.session'));
    v_activity := (select sum(people) from track.refresh(v_most_people, 'analytics.activity'));
    if greatest(v_sessions, v_activity) >= v_most_people then
      v_step.step := format('refreshed %s people', greatest(v_sessions, v_activity));
      v_step.finished := false;
      return v_step;
    end if;
    perform analytics._end_training(training.target) from analytics.training;
    perform analytics._begin_training(entry, train_predictions_step.seed) from analytics.prediction_target as entry order by entry.target;
  end if;
  select * into v_target from analytics.prediction_target as entry where entry.target = (select min(training.target) from analytics.training);
  v_step := analytics._train_step(v_target, (select training from analytics.training where training.target = v_target.target));
  v_step.finished := not exists (select from analytics.training);
  return v_step;
end;
$$;

comment on function analytics.train_predictions_step(bigint) is $$
@behavior -*
Does the next step of `analytics.train_predictions` for all targets. Call it until `finished` is true.
Each call is bounded (some courses, or one algorithm) and continues after the last committed step, for clients that
share one session, as in the embedded database. The resulting models are the same.
Errors: CF001, CF010 (already running).
$$;

grant execute on function analytics.train_predictions_step(bigint) to insights_admin, insights_worker;
