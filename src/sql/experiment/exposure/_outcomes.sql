/*
 * Counts of events come from the journeys (`track.step`), whose times are sorted arrays; values, filters and items from
 * the events themselves. The statement of an experiment has one sum per outcome and period: a join with the outcomes,
 * and arrays that are put together from its rows, would take several times as long.
 */
create or replace function experiment._outcomes(exposures experiment.exposure[], slots experiment.slot[])
returns experiment.exposure[]
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
  v_computed experiment.exposure[];
  v_outcomes experiment.exposure[] := '{}';
  v_slots experiment.slot[];
  v_stepped text;
  v_found text;
  v_figures text;
  v_figures_before text;
begin
  for v_experiment_id, v_exposures in
    select exposed.experiment_id, array_agg(exposed)
    from unnest(exposures) as exposed
    group by exposed.experiment_id
  loop
    v_slots := array(
      select slot from unnest(slots) as slot where slot.experiment_id = v_experiment_id order by slot.place
    );
    v_stepped := experiment._step_figures(v_slots);

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
    into v_figures, v_figures_before
    from (
      select
        slot.place,
        -- Most are 0 or null: the constants are made without a conversion.
        format(
          case
            when slot.reading = 'any' then 'case when %1$s.%%1$s%2$s > 0 then 1::numeric else 0::numeric end'
            when slot.cap is null then 'coalesce(nullif(%1$s.%%1$s%2$s, 0)::numeric, 0::numeric)'
            else 'least(coalesce(nullif(%1$s.%%1$s%2$s, 0)::numeric, 0::numeric), %3$L::numeric)'
          end,
          case when slot.is_stepped then 'stepped' else 'found' end, slot.place, slot.cap
        ) as text
      from unnest(v_slots) as slot
    ) as outcome;

    execute
      'with exposed as materialized (select exposed.* from unnest($1) as exposed)'
      || coalesce(', ' || v_stepped, '')
      || coalesce(', ' || experiment._event_relations(v_slots), '')
      || coalesce(
        ', found as ('
        'select event.person_id, ' || v_found || ' from event join exposed using (person_id) group by event.person_id'
        ')',
        ''
      )
      || ' select array_agg(row('
      'exposed.person_id, exposed.experiment_id, exposed.variation, exposed.exposed_at,'
      ' exposed.exposed_on, exposed.is_counted, exposed.stratum, exposed.probability,'
      ' array[' || v_figures || ']::numeric[], array[' || v_figures_before || ']::numeric[]'
      ')::experiment.exposure)'
      ' from exposed'
      || case when v_stepped is null then '' else ' left join stepped using (person_id)' end
      || case when v_found is null then '' else ' left join found using (person_id)' end
    into v_computed
    using v_exposures;
    v_outcomes := v_outcomes || v_computed;
  end loop;
  return v_outcomes;
end;
$$;

comment on function experiment._outcomes(experiment.exposure[], experiment.slot[]) is $$
Returns exposures with the outcomes of the slots, computed from the events of the people.
$$;
