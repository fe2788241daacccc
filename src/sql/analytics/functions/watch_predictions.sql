/* A definer: it reads what everybody did and notes drift, and is granted to those who run the installation. */
create or replace function analytics.watch_predictions(question text default null)
returns setof ml.drift
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
  v_question analytics.question;
begin
  if watch_predictions.question is not null then
    perform analytics._question(watch_predictions.question);
  end if;
  for v_question in
    select entry.*
    from analytics.question as entry
    where ml.deployed_version(entry.project) is not null
      and (watch_predictions.question is null or entry.question = watch_predictions.question)
    order by entry.question
  loop
    drop table if exists pg_temp.learner_look;
    -- The latest two looks whose outcome is known.
    create temporary table learner_look on commit drop as
    select (look.feature).*, look.outcome
    from analytics._looks(v_question, analytics._look_times(v_question, 2)) as look;
    if exists (select from pg_temp.learner_look) then
      return query
      select *
      from ml.measure_drift(
        v_question.project,
        format('%I.learner_look', (select nspname from pg_catalog.pg_namespace where oid = pg_catalog.pg_my_temp_schema())),
        'outcome'
      );
    end if;
    drop table if exists pg_temp.learner_look;
  end loop;
end;
$$;

comment on function analytics.watch_predictions(text) is $$
Measures the drift of the predictions about learners: inputs, calibration and metric on the latest looks whose outcome is known, of all questions or one; see ml.measure_drift. Error CF002 (no such question).
$$;

grant execute on function analytics.watch_predictions(text) to insights_admin, insights_worker;
