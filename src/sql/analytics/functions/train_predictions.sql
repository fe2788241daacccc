/* A definer: it reads what everybody did and writes models, and is granted to those who run the installation. */
create or replace function analytics.train_predictions(question text default null, seed bigint default 0)
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
  v_asked constant boolean := train_predictions.question is not null;
  v_question analytics.question;
  v_training analytics.training;
  v_step analytics.training_step;
  v_trained int;
begin
  if v_asked then
    perform analytics._question(train_predictions.question);
  end if;
  perform analytics._lock_training(train_predictions.seed);
  perform track.refresh(2147483647, 'track.session');
  perform track.refresh(2147483647, 'analytics.activity');
  for v_question in
    select * from analytics.question as entry where not v_asked or entry.question = train_predictions.question order by entry.question
  loop
    v_training := analytics._begin_training(v_question, train_predictions.seed);
    v_trained := 0;
    loop
      v_step := analytics._train_step(v_question, v_training);
      if (v_step.trained).version is not null then
        v_trained := v_trained + 1;
        return next v_step.trained;
      end if;
      exit when v_step.finished;
      select * into v_training from analytics.training where training.question = v_question.question;
    end loop;
    if v_asked and v_trained = 0 then
      perform common.refuse('CF004', v_step.step, v_step.hint);
    end if;
  end loop;
end;
$$;

comment on function analytics.train_predictions(text, bigint) is $$
Trains the predictions about learners, all or one question (`dropout`, `completion`, `activity`), and deploys what is better than the deployed version.
Refreshes what they are learned from first.
Learns from weekly looks at everybody who took a course then (`analytics.question.weeks` of them), with the features as of the look and the outcome by the end
of the horizon. The latest quarter is held out; looks whose outcome was not known when it began are learned from by nobody, and a feature that used
anything later than its look would be refused (ml.time_split). A penalised linear model and boosted trees compete by log loss, calibrated, or squared error.
Without a question, those with too little to learn from are passed over. analytics.train_predictions_step does the same in many short transactions. Errors: CF001, CF002 (no such question), CF004 (too little), CF010 (running already).
$$;

grant execute on function analytics.train_predictions(text, bigint) to insights_admin, insights_worker;
