create or replace function experiment._event_values(exposures experiment.exposure[])
returns setof experiment.event_value
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_slots constant experiment.slot[] := array(
    select slot
    from experiment._slots(array(select distinct exposed.experiment_id from unnest(exposures) as exposed)) as slot
    where slot.reading = 'values'
  );
begin
  return query
  select
    found.person_id, found.experiment_id, slot.position, array_agg(found.value order by found.value)
  from experiment._found_values(exposures, v_slots) as found
  join unnest(v_slots) as slot on slot.experiment_id = found.experiment_id and slot.place = found.place
  where not found.is_before
    and found.value is not null
  group by found.person_id, found.experiment_id, slot.position;
end;
$$;

comment on function experiment._event_values(experiment.exposure[]) is $$
Computes the values of the quantile metrics of exposures: what `experiment.event_value` contains after a refresh.
$$;
