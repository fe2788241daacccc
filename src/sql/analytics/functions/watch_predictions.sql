/* A definer: it reads what everybody did and notes drift, and is granted to those who run the installation. */
create or replace function analytics.watch_predictions()
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
  for v_question in
    select entry.*
    from analytics.question as entry
    join ml.project on project.name = entry.project
    where ml._deployed_model_id(project.project_id) is not null
    order by entry.question
  loop
    -- The latest two looks whose outcome is known.
    if analytics._write_looks(v_question, 2) > 0 then
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

comment on function analytics.watch_predictions() is $$
Measures the drift of the predictions about learners: inputs, calibration and metric on the latest looks whose outcome is known; see ml.measure_drift.
$$;

grant execute on function analytics.watch_predictions() to insights_admin, insights_worker;
