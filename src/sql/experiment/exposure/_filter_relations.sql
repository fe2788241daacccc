create or replace function experiment._filter_relations(slots experiment.slot[])
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_slot experiment.slot;
  v_filter jsonb;
  v_events text[] := '{}';
begin
  foreach v_slot in array slots loop
    v_filter := v_slot.property_filter;
    if v_filter is not null then
      v_slot.property_filter := null;
      v_events := v_events || format(
        'select %L::jsonb as property_filter, coalesce(event.properties, ''{}'') as properties'
        ' from track.event join exposed using (person_id)'
        ' where event.person_id = any ($2) and event.occurred_at >= $6 and event.occurred_at < $5'
        ' and (%s or %s)',
        v_filter, experiment._event_filter(v_slot, false), experiment._event_filter(v_slot, true)
      );
    end if;
  end loop;
  if v_events = '{}' then
    return '';
  end if;
  -- Materialized, because the planner would compute the condition before the union.
  return ', kind as materialized (' || array_to_string(v_events, ' union ') || '), passed as materialized ('
    'select kind.* from kind where experiment.eval_condition(kind.properties, kind.property_filter)'
    ')';
end;
$$;

comment on function experiment._filter_relations(experiment.slot[]) is $$
Returns the relation `passed`, as text of SQL: the properties of events that pass the filters of outcomes.
A condition takes about 0.1 ms: it is evaluated once for all events with the same properties. The statement has the
relation `exposed` and the parameters $2 (people), $5 (end) and $6 (start).
$$;
