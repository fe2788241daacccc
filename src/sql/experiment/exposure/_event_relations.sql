create or replace function experiment._event_relations(slots experiment.slot[])
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_slot experiment.slot;
  v_filter jsonb;
  v_kinds text[] := '{}';
  v_events text;
begin
  select format(
    'event as ('
    'select event.* from experiment._events_of('
    'array(select exposed.person_id from exposed),'
    ' (select min(exposed.exposed_at) - %L::interval from exposed), %L::timestamptz, %L::int[]'
    ') as event'
    ')',
    max(slot.before_period), max(slot.ends_at),
    array(
      select distinct unnest(slot.event_type_ids) from unnest(_event_relations.slots) as slot where not slot.is_stepped
    )
  )
  into v_events
  from unnest(_event_relations.slots) as slot
  where not slot.is_stepped
  having count(*) > 0;

  foreach v_slot in array slots loop
    v_filter := v_slot.property_filter;
    if v_filter is not null then
      v_slot.property_filter := null;
      v_kinds := v_kinds || format(
        'select %L::jsonb as property_filter, coalesce(event.properties, ''{}'') as properties'
        ' from event join exposed using (person_id)'
        ' where (%s or %s)',
        v_filter, experiment._event_filter(v_slot, false), experiment._event_filter(v_slot, true)
      );
    end if;
  end loop;
  if v_kinds = '{}' then
    return v_events;
  end if;
  -- Materialized, because the planner would compute the condition before the union.
  return v_events
    || ', kind as materialized (' || array_to_string(v_kinds, ' union ') || '), passed as materialized ('
    'select kind.* from kind where experiment.eval_condition(kind.properties, kind.property_filter)'
    ')';
end;
$$;

comment on function experiment._event_relations(experiment.slot[]) is $$
Returns the relations, as text of SQL, from which the outcomes of an experiment that are not in the journeys follow.
`event`: the events of the types of the outcomes since the period before the exposure. `passed`: the properties of
events that pass the filters of outcomes; a condition takes about 0.1 ms, and is evaluated once for all events with the
same properties. Null without such outcomes. The statement has the relation `exposed`.
$$;
