create or replace function experiment._touched_people(people bigint[], since timestamptz[], until timestamptz[])
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
-- The planner has no statistics of the arrays, and would compare each row with each.
set enable_nestloop to off
set jit to off
-- A day has 24 hours.
set timezone to 'UTC'
as $$
declare
  v_viewed constant record := experiment._viewed_types();
  v_since constant timestamptz := (select min(experiment.started_at) from experiment.experiment);
  v_is_served constant boolean := exists (
    select
    from experiment.experiment
    where experiment.placement is not null
      and experiment.started_at is not null
  );
begin
  return array(
    with period as materialized (
      select changed.person_id, changed.since, changed.until
      from unnest(_touched_people.people, _touched_people.since, _touched_people.until)
        as changed (person_id, since, until)
    )

    -- Those who take part, and whose change is not after the end of the experiment or long before the exposure. The
    -- period before the exposure, and a trait at the exposure, are older than the experiment.
    select period.person_id
    from period
    join (
      select entry.person_id, entry.experiment_id, entry.exposed_at
      from experiment.exposure as entry
      where entry.person_id = any (_touched_people.people)
    ) as exposure on exposure.person_id = period.person_id
    join experiment.experiment on experiment.experiment_id = exposure.experiment_id
    where period.since < coalesce(experiment.stopped_at, 'infinity')
      and (experiment.strata is not null or period.until >= exposure.exposed_at - experiment.before_period)

    union

    -- Those with an exposure among the changes.
    select period.person_id
    from period
    join (
      select entry.person_id, entry.occurred_at
      from track.step as entry
      where entry.person_id = any (_touched_people.people)
        and entry.event_type_id = any (v_viewed.stored)
    ) as step on step.person_id = period.person_id
    where period.until >= v_since
      and width_bucket(period.until, step.occurred_at)
      > width_bucket(period.since - interval '1 microsecond', step.occurred_at)

    union

    -- Rooms queue those to whom they showed a variation.
    select period.person_id
    from period
    where v_is_served
      and period.since = '-infinity'
  );
end;
$$;

comment on function experiment._touched_people(bigint[], timestamptz[], timestamptz[]) is $$
Returns the people whose exposures or outcomes may differ after changes in the given periods.
$$;
