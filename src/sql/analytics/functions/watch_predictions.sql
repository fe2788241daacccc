/* A definer: it reads the activity of all people and stores the drift, and is granted to administrators and workers. */
create or replace function analytics.watch_predictions(target text default null)
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
  v_target analytics.prediction_target;
begin
  if watch_predictions.target is not null then
    perform analytics._prediction_target(watch_predictions.target);
  end if;
  for v_target in
    select entry.*
    from analytics.prediction_target as entry
    where ml.deployed_version(entry.project) is not null
      and (watch_predictions.target is null or entry.target = watch_predictions.target)
    order by entry.target
  loop
    drop table if exists pg_temp.learner_snapshot;
    -- The latest two snapshots whose outcome is known.
    create temporary table learner_snapshot on commit drop as
    select (snapshot.feature).*, snapshot.outcome
    from analytics._snapshots(v_target, analytics._snapshot_times(v_target, 2)) as snapshot;
    if exists (select from pg_temp.learner_snapshot) then
      return query
      select *
      from ml.measure_drift(
        v_target.project,
        format(
          '%I.learner_snapshot',
          (select nspname from pg_catalog.pg_namespace where oid = pg_catalog.pg_my_temp_schema())
        ),
        'outcome'
      );
    end if;
    drop table if exists pg_temp.learner_snapshot;
  end loop;
end;
$$;

comment on function analytics.watch_predictions(text) is $$
Measures the drift of the predictions about learners, of all targets or one.
Inputs, calibration and metric are measured on the latest snapshots whose outcome is known; see `ml.measure_drift`.
Errors: CF002 (unknown target).
$$;

grant execute on function analytics.watch_predictions(text) to insights_admin, insights_worker;
