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
  v_sets bigint;
  v_target analytics.prediction_target;
  v_step analytics.training_step;
begin
  perform analytics._lock_training(train_predictions_step.seed);
  -- A training that started on another day, or with another seed, is about other data.
  if not exists (
    select 1
    from analytics.training
    where training.seed = train_predictions_step.seed
      and training.started_at >= date_trunc('day', now() at time zone 'UTC') at time zone 'UTC'
  ) then
    -- Refresh until a step finds fewer people than it may refresh. The queue need not be empty, because events may
    -- arrive all the time.
    v_sessions := (select sum(people) from track.refresh(v_most_people, 'track.session'));
    v_sets := (select sum(people) from track.refresh(v_most_people, 'track.person_set'));
    if greatest(v_sessions, v_sets) >= v_most_people then
      v_step.step := format('refreshed %s people', greatest(v_sessions, v_sets));
      v_step.finished := false;
      return v_step;
    end if;
    perform analytics._end_training(training.target) from analytics.training;
    perform analytics._begin_training(entry, train_predictions_step.seed)
    from analytics.prediction_target as entry
    order by entry.target;
  end if;
  select * into v_target
  from analytics.prediction_target as entry
  where entry.target = (select min(training.target) from analytics.training);
  v_step := analytics._train_step(
    v_target,
    (select training from analytics.training where training.target = v_target.target)
  );
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
