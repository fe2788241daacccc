create or replace function experiment._touched_people(people bigint[], since timestamptz[], until timestamptz[])
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
set jit to off
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
      where changed.until >= v_since
    )

    -- Those who take part, and whose change is not after the end of the experiment or long before the exposure.
    select period.person_id
    from period
    join experiment.exposure on exposure.person_id = period.person_id
    join experiment.experiment on experiment.experiment_id = exposure.experiment_id
    where period.since < coalesce(experiment.stopped_at, 'infinity')
      and (experiment.strata is not null or period.until >= exposure.exposed_at - experiment.before_period)

    union

    -- Those with an exposure among the changes.
    select period.person_id
    from period
    join track.step
      on step.person_id = period.person_id
      and step.event_type_id = any (v_viewed.stored)
    where width_bucket(period.until, step.occurred_at)
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

create or replace function experiment._change_day_sums(exposures experiment.exposure[], signs int[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_sums constant experiment.day_sum[] := array(
    select changed from experiment._day_sums(exposures, signs) as changed
  );
begin
  with updated as (
    update experiment.day_sum
    set
      people = day_sum.people + changed.people,
      sums = array(
        select stored.figure + added.figure
        from unnest(day_sum.sums) with ordinality as stored (figure, place)
        join unnest(changed.sums) with ordinality as added (figure, place) using (place)
        order by place
      )
    from unnest(v_sums) as changed
    where day_sum.experiment_id = changed.experiment_id
      and day_sum.position = changed.position
      and day_sum.variation = changed.variation
      and day_sum.exposed_on = changed.exposed_on
      and day_sum.stratum = changed.stratum
    returning day_sum.experiment_id, day_sum.position, day_sum.variation, day_sum.exposed_on, day_sum.stratum
  )

  insert into experiment.day_sum (experiment_id, position, variation, exposed_on, stratum, people, sums)
  select
    changed.experiment_id, changed.position, changed.variation, changed.exposed_on, changed.stratum, changed.people,
    changed.sums
  from unnest(v_sums) as changed
  where not exists (
    select
    from updated
    where (updated.experiment_id, updated.position, updated.variation, updated.exposed_on, updated.stratum)
      = (changed.experiment_id, changed.position, changed.variation, changed.exposed_on, changed.stratum)
  );

  delete from experiment.day_sum
  using unnest(v_sums) as changed
  where day_sum.people = 0
    and day_sum.experiment_id = changed.experiment_id
    and day_sum.position = changed.position
    and day_sum.variation = changed.variation
    and day_sum.exposed_on = changed.exposed_on
    and day_sum.stratum = changed.stratum;
end;
$$;

comment on function experiment._change_day_sums(experiment.exposure[], int[]) is $$
Adds exposures to the sums (1), or subtracts them (-1).
$$;

/*
 * An exposure follows from all events of the person, and they may arrive in any order: the rows of a person are computed
 * from scratch whenever a change touches them. The sums change by the difference between the old and the new rows.
 */
create or replace function experiment.refresh_exposures(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_people bigint[];
  v_refused bigint[];
  v_old experiment.exposure[];
  v_new experiment.exposure[];
  v_changed bigint[];
  v_values experiment.event_value[];
begin
  if not exists (select from experiment.experiment where experiment.started_at is not null) then
    return;
  end if;
  v_people := experiment._touched_people(
    refresh_exposures.people, refresh_exposures.since, refresh_exposures.until
  );
  if v_people = '{}' then
    return;
  end if;

  -- People who have opted out, or whose data is restricted, are in no experiment.
  v_refused := array(
    select entry.person_id
    from unnest(v_people) as entry (person_id)
    join privacy.purpose on purpose.purpose = 'analytics'
    left join privacy.latest_decisions('analytics', v_people) as decision on decision.person_id = entry.person_id
    where not coalesce(decision.granted, purpose.basis <> 'consent')
    union
    select restricted.person_id
    from privacy.restricted(v_people) as restricted (person_id)
  );
  v_old := array(
    select exposure from experiment.exposure where exposure.person_id = any (v_people)
  );
  v_new := array(
    select computed
    from experiment._exposures_of(
      array(select unnest(v_people) except select unnest(v_refused))
    ) as computed
  );

  -- Rows that differ: those of before, and those of now.
  select
    array(select old from unnest(v_old) as old except select new from unnest(v_new) as new),
    array(select new from unnest(v_new) as new except select old from unnest(v_old) as old)
  into v_old, v_new;

  delete from experiment.exposure
  using (
    select old.person_id, old.experiment_id from unnest(v_old) as old
    except
    select new.person_id, new.experiment_id from unnest(v_new) as new
  ) as gone
  where exposure.person_id = gone.person_id
    and exposure.experiment_id = gone.experiment_id;
  insert into experiment.exposure (
    person_id, experiment_id, variation, exposed_at, exposed_on, is_counted, stratum, probability, outcomes,
    outcomes_before
  )
  select
    new.person_id, new.experiment_id, new.variation, new.exposed_at, new.exposed_on, new.is_counted, new.stratum,
    new.probability, new.outcomes, new.outcomes_before
  from unnest(v_new) as new
  on conflict (person_id, experiment_id) do update
  set
    variation = excluded.variation,
    exposed_at = excluded.exposed_at,
    exposed_on = excluded.exposed_on,
    is_counted = excluded.is_counted,
    stratum = excluded.stratum,
    probability = excluded.probability,
    outcomes = excluded.outcomes,
    outcomes_before = excluded.outcomes_before;
  perform experiment._change_day_sums(
    v_old || v_new,
    array_fill(-1, array[cardinality(v_old)]) || array_fill(1, array[cardinality(v_new)])
  );
  perform experiment._store_event_values(v_people);

  v_changed := array(
    select old.person_id from unnest(v_old) as old
    union
    select new.person_id from unnest(v_new) as new
  );
  if v_changed <> '{}' then
    perform track.recompute_person_sets('experiment.exposure', v_changed);
  end if;
end;
$$;

comment on function experiment.refresh_exposures(bigint[], timestamptz[], timestamptz[]) is $$
@behavior -*
Recomputes `experiment.exposure` for the given people and periods, and the sums that follow. Called by `track.refresh`.
Their events, identities, decisions, traits or sets have changed. The rows and sums are those of a computation from
scratch, also after late events, merges of people and deletions. People who have opted out of `analytics`, or whose data
is restricted, have no rows.
$$;
