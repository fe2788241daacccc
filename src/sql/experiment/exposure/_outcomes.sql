/*
 * Counts of events come from the journeys (`track.step`), whose times are sorted arrays; values, filters and items from
 * the events themselves.
 */
create or replace function experiment._outcomes(exposures experiment.exposure[], slots experiment.slot[])
returns setof experiment.exposure
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
-- A day has 24 hours.
set timezone to 'UTC'
-- The planner has no statistics of the arrays, and would compare each row with each.
set enable_nestloop to off
as $$
declare
  v_people constant bigint[] := array(
    select distinct exposed.person_id from unnest(exposures) as exposed order by exposed.person_id
  );
  v_types constant int[] := array(
    select distinct unnest(slot.event_type_ids) from unnest(slots) as slot where slot.is_stepped
  );
begin
  return query
  with exposed as materialized (
    select exposed.* from unnest(exposures) as exposed
  ),

  slot as materialized (
    select slot.* from unnest(slots) as slot
  ),

  stepped_slot as materialized (
    select
      slot.experiment_id, slot.place, slot.delay, slot.period, slot.ends_at, slot.before_period,
      unnest(slot.event_type_ids) as event_type_id
    from slot
    where slot.is_stepped
  ),

  step as materialized (
    select step.person_id, step.event_type_id, step.occurred_at
    from track.step
    where step.person_id = any (v_people)
      and step.event_type_id = any (v_types)
  ),

  stepped as (
    select
      exposed.person_id, exposed.experiment_id, slot.place,
      width_bucket(period.until - interval '1 microsecond', step.occurred_at)
        - width_bucket(period.since - interval '1 microsecond', step.occurred_at) as outcome,
      width_bucket(exposed.exposed_at - interval '1 microsecond', step.occurred_at)
        - width_bucket(exposed.exposed_at - slot.before_period - interval '1 microsecond', step.occurred_at) as before
    from exposed
    join step on step.person_id = exposed.person_id
    join stepped_slot as slot
      on slot.experiment_id = exposed.experiment_id
      and slot.event_type_id = step.event_type_id
    cross join lateral (
      select
        exposed.exposed_at + slot.delay as since,
        greatest(
          exposed.exposed_at + slot.delay,
          least(exposed.exposed_at + slot.delay + coalesce(slot.period, 'infinity'), slot.ends_at)
        ) as until
    ) as period
  ),

  read as (
    select
      stepped.person_id, stepped.experiment_id, stepped.place,
      sum(stepped.outcome)::numeric as outcome, sum(stepped.before)::numeric as before
    from stepped
    where stepped.outcome > 0
      or stepped.before > 0
    group by stepped.person_id, stepped.experiment_id, stepped.place

    union all

    select
      found.person_id, found.experiment_id, found.place,
      case
        when found.reading = 'sum' then sum(found.value) filter (where not found.is_before)
        else count(found.value) filter (where not found.is_before)
      end,
      case
        when found.reading = 'sum' then sum(found.value) filter (where found.is_before)
        else count(found.value) filter (where found.is_before)
      end
    from experiment._found_values(exposures, array(select slot from unnest(slots) as slot where not slot.is_stepped))
      as found
    group by found.person_id, found.experiment_id, found.place, found.reading
  ),

  -- Most people have few outcomes: the arrays begin with zeros.
  listed as (
    select
      read.person_id, read.experiment_id,
      array_agg(read.place) as places,
      array_agg(least(coalesce(read.outcome, 0), case when slot.reading = 'any' then 1 else slot.cap end)) as outcomes,
      array_agg(least(coalesce(read.before, 0), case when slot.reading = 'any' then 1 else slot.cap end))
        as outcomes_before
    from read
    join slot on slot.experiment_id = read.experiment_id and slot.place = read.place
    group by read.person_id, read.experiment_id
  ),

  nothing as (
    select slot.experiment_id, array_fill(0::numeric, array[max(slot.place)]) as outcomes
    from slot
    group by slot.experiment_id
  )

  select
    exposed.person_id, exposed.experiment_id, exposed.variation, exposed.exposed_at, exposed.exposed_on,
    exposed.is_counted, exposed.stratum, exposed.probability,
    case
      when listed.places is null then coalesce(nothing.outcomes, '{}')
      else experiment._placed(nothing.outcomes, listed.places, listed.outcomes)
    end,
    case
      when listed.places is null then coalesce(nothing.outcomes, '{}')
      else experiment._placed(nothing.outcomes, listed.places, listed.outcomes_before)
    end
  from exposed
  left join nothing on nothing.experiment_id = exposed.experiment_id
  left join listed on listed.person_id = exposed.person_id and listed.experiment_id = exposed.experiment_id;
end;
$$;

comment on function experiment._outcomes(experiment.exposure[], experiment.slot[]) is $$
Returns exposures with the outcomes of the slots, computed from the events of the people.
$$;
