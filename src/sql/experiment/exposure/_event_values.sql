create or replace function experiment._event_values(exposures experiment.exposure[])
returns setof experiment.event_value
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
set max_parallel_workers_per_gather to 0
-- A day has 24 hours.
set timezone to 'UTC'
-- The planner has no statistics of the arrays, and would compare each row with each.
set enable_nestloop to off
as $$
declare
  v_slot experiment.slot;
  v_exposures experiment.exposure[];
begin
  for v_slot in
    select slot.*
    from experiment._slots(array(select distinct exposed.experiment_id from unnest(exposures) as exposed)) as slot
    where slot.reading = 'values'
  loop
    v_exposures := array(
      select exposed from unnest(exposures) as exposed where exposed.experiment_id = v_slot.experiment_id
    );
    return query execute format(
      'with exposed as materialized (select exposed.* from unnest($1) as exposed), %3$s '
      'select event.person_id, $2, $3, array_agg(%1$s order by %1$s)'
      ' from event join exposed using (person_id)'
      ' where %2$s and %1$s is not null'
      ' group by event.person_id',
      experiment._event_figure(v_slot), experiment._event_filter(v_slot, false),
      experiment._event_relations(array[v_slot])
    )
    using v_exposures, v_slot.experiment_id, v_slot.position;
  end loop;
end;
$$;

comment on function experiment._event_values(experiment.exposure[]) is $$
Computes the values of the quantile metrics of exposures: what `experiment.event_value` contains after a refresh.
$$;
