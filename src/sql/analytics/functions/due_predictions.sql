/* A definer owned by insights_reader: it reads the days with activity, and returns names of prediction targets only. */
create or replace function analytics.due_predictions()
returns setof text
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
as $$
declare
  v_first_day_at timestamptz;
  v_complete_at timestamptz;
  v_enrolments constant bigint := (
    select count(*)
    from track.enrolment
    join track.person_set_block as counted
      on counted.name = 'counted'
      and counted.block = enrolment.person_id / 4096
      and get_bit(counted.people, (enrolment.person_id % 4096)::int) <> 0
  );
begin
  select
    active.first_day::timestamp at time zone 'UTC',
    least(
      (active.last_day + 1)::timestamp at time zone 'UTC',
      date_trunc('day', now() at time zone 'UTC') at time zone 'UTC'
    )
  into v_first_day_at, v_complete_at
  from analytics._active_days() as active;

  return query
  select entry.target
  from analytics.prediction_target as entry
  where v_complete_at >= v_first_day_at + interval '7 days' + entry.horizon
    and v_enrolments * entry.weeks >= entry.fewest_rows
    and not exists (
      select
      from ml.project
      join ml.model using (project_id)
      where project.name = entry.project
        and model.trained_at >= v_complete_at
        -- A deployed version that is marked for training is replaced at once.
        and (
          ml.deployed_version(project.name) is not null
          or not exists (select from ml.deployment where deployment.project_id = project.project_id)
        )
    )
  order by entry.target;
end;
$$;

alter function analytics.due_predictions() owner to insights_reader;

comment on function analytics.due_predictions() is $$
@behavior -*
Returns the prediction targets whose latest version is older than the last complete day, or marked for training.
Only targets for which there may be enough training data. For the worker.
$$;

grant execute on function analytics.due_predictions() to insights_admin, insights_worker;
