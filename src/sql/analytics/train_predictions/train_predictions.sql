/* A definer: it reads the activity of all people and writes models, and is granted to administrators and workers. */
create or replace function analytics.train_predictions(target text default null, seed bigint default 0)
returns setof ml.training
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
  v_is_given constant boolean := train_predictions.target is not null;
  v_target analytics.prediction_target;
  v_training analytics.training;
  v_step analytics.training_step;
  v_trained int;
begin
  if v_is_given then
    perform analytics._prediction_target(train_predictions.target);
  end if;
  perform analytics._lock_training(train_predictions.seed);
  perform track.refresh(2147483647, 'track.session');
  perform track.refresh(2147483647, 'track.person_set');
  for v_target in
    select *
    from analytics.prediction_target as entry
    where not v_is_given
      or entry.target = train_predictions.target
    order by entry.target
  loop
    v_training := analytics._begin_training(v_target, train_predictions.seed);
    v_trained := 0;
    loop
      v_step := analytics._train_step(v_target, v_training);
      if (v_step.trained).version is not null then
        v_trained := v_trained + 1;
        return next v_step.trained;
      end if;
      exit when v_step.finished;
      select * into v_training from analytics.training where training.target = v_target.target;
    end loop;
    if v_is_given and v_trained = 0 then
      perform common.refuse('CF004', v_step.step, v_step.hint);
    end if;
  end loop;
end;
$$;

comment on function analytics.train_predictions(text, bigint) is $$
Trains the predictions about learners and deploys each version that is better than the deployed one.
`target`: `dropout`, `completion` or `activity`; null: all. The training data are weekly snapshots of the learners in
the set `counted` who took a course (`analytics.prediction_target.weeks` of them), with the features as of the snapshot
and the outcome by the end of the horizon.
The latest quarter is held out. Snapshots whose outcome was not known when it starts are not used, and a feature that
uses later data than its snapshot is refused (`ml.time_split`). A penalised linear model and boosted trees are
compared by log loss (calibrated) or by squared error.
Without a target, those with too little training data are skipped. `analytics.train_predictions_step` does the same in
many short transactions.
Errors: CF001, CF002 (unknown target), CF004 (too little data), CF010 (already running).
$$;

grant execute on function analytics.train_predictions(text, bigint) to insights_admin, insights_worker;
