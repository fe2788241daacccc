/*
 * Counts of events come from the journeys (`track.step`), whose times are sorted arrays; values, filters and items from
 * the events themselves. The statement of an experiment has one sum per outcome and period: a join with the outcomes,
 * and arrays that are put together from its rows, would take several times as long.
 */
create or replace function experiment._outcomes(exposures experiment.exposure[], slots experiment.slot[])
returns setof experiment.exposure
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
set work_mem to '64MB'
set max_parallel_workers_per_gather to 0
-- A day has 24 hours.
set timezone to 'UTC'
-- The planner has no statistics of the arrays, and would compare each row with each.
set enable_nestloop to off
as $$
declare
  v_experiment_id int;
  v_exposures experiment.exposure[];
  v_slots experiment.slot[];
  v_stepped text;
  v_found text;
  v_outcomes text;
  v_outcomes_before text;
begin
  for v_experiment_id, v_exposures in
    select exposed.experiment_id, array_agg(exposed)
    from unnest(exposures) as exposed
    group by exposed.experiment_id
  loop
    v_slots := array(
      select slot from unnest(slots) as slot where slot.experiment_id = v_experiment_id order by slot.place
    );

    -- The times of an array that are earlier than t are those up to t - 1 microsecond.
    select string_agg(
      format(
        'sum('
        'width_bucket(greatest(%3$s, least(%4$s, $5)) - interval ''1 microsecond'', step.occurred_at)'
        ' - width_bucket(%3$s - interval ''1 microsecond'', step.occurred_at)'
        ') filter (where step.event_type_id in (%2$s)) as y%1$s, '
        'sum('
        'width_bucket(exposed.exposed_at - interval ''1 microsecond'', step.occurred_at)'
        ' - width_bucket(exposed.exposed_at - %5$L::interval - interval ''1 microsecond'', step.occurred_at)'
        ') filter (where step.event_type_id in (%2$s)) as x%1$s',
        slot.place,
        array_to_string(slot.event_type_ids, ', '),
        format('exposed.exposed_at + %L::interval', slot.delay),
        format('exposed.exposed_at + %L::interval + %L::interval', slot.delay, slot.period),
        slot.before_period
      ),
      ', '
    )
    into v_stepped
    from unnest(v_slots) as slot
    where slot.is_stepped;

    select string_agg(
      format(
        '%2$s(%3$s) filter (where %4$s) as y%1$s, %2$s(%3$s) filter (where %5$s) as x%1$s',
        slot.place, case when slot.reading = 'sum' then 'sum' else 'count' end, experiment._event_figure(slot),
        experiment._event_filter(slot, false), experiment._event_filter(slot, true)
      ),
      ', '
    )
    into v_found
    from unnest(v_slots) as slot
    where not slot.is_stepped;

    select
      coalesce(string_agg(format(outcome.text, 'y'), ', ' order by outcome.place), ''),
      coalesce(string_agg(format(outcome.text, 'x'), ', ' order by outcome.place), '')
    into v_outcomes, v_outcomes_before
    from (
      select
        slot.place,
        format(
          'least(coalesce(%s.%%s%s, 0)::numeric, %L::numeric)',
          case when slot.is_stepped then 'stepped' else 'found' end, slot.place,
          case when slot.reading = 'any' then 1 else slot.cap end
        ) as text
      from unnest(v_slots) as slot
    ) as outcome;

    return query execute
      'with exposed as materialized (select exposed.* from unnest($1) as exposed)'
      || experiment._filter_relations(v_slots)
      || coalesce(
        ', stepped as ('
        'select step.person_id, ' || v_stepped || ' from track.step join exposed using (person_id)'
        ' where step.person_id = any ($2) and step.event_type_id = any ($3) group by step.person_id'
        ')',
        ''
      )
      || coalesce(
        ', found as ('
        'select event.person_id, ' || v_found || ' from track.event join exposed using (person_id)'
        ' where event.person_id = any ($2) and event.occurred_at >= $6 and event.occurred_at < $5'
        ' and (event.event_type_id = any ($4) or event.named_event_type_id = any ($4)) group by event.person_id'
        ')',
        ''
      )
      || ' select exposed.person_id, exposed.experiment_id, exposed.variation, exposed.exposed_at,'
      ' exposed.exposed_on, exposed.is_counted, exposed.stratum, exposed.probability,'
      ' array[' || v_outcomes || ']::numeric[], array[' || v_outcomes_before || ']::numeric[]'
      ' from exposed'
      || case when v_stepped is null then '' else ' left join stepped using (person_id)' end
      || case when v_found is null then '' else ' left join found using (person_id)' end
    using
      v_exposures,
      array(select exposed.person_id from unnest(v_exposures) as exposed order by exposed.person_id),
      array(select distinct unnest(slot.event_type_ids) from unnest(v_slots) as slot where slot.is_stepped),
      array(select distinct unnest(slot.event_type_ids) from unnest(v_slots) as slot where not slot.is_stepped),
      v_slots[1].ends_at,
      (select min(exposed.exposed_at) from unnest(v_exposures) as exposed) - v_slots[1].before_period;
  end loop;
end;
$$;

comment on function experiment._outcomes(experiment.exposure[], experiment.slot[]) is $$
Returns exposures with the outcomes of the slots, computed from the events of the people.
$$;
