create or replace function experiment._event_filter(slot experiment.slot, is_before boolean)
returns text
language sql
stable
set search_path to pg_catalog, pg_temp
begin atomic
  select
    format(
      '(event.event_type_id in (%1$s) or event.named_event_type_id in (%1$s))',
      array_to_string((slot).event_type_ids, ', ')
    )
    || case
      when is_before then format(
        ' and event.occurred_at < exposed.exposed_at'
        ' and event.occurred_at >= exposed.exposed_at - %L::interval',
        (slot).before_period
      )
      else case
        when (slot).delay = interval '0' then ' and event.occurred_at >= exposed.exposed_at'
        else format(' and event.occurred_at >= exposed.exposed_at + %L::interval', (slot).delay)
      end
      || case when (slot).period is null then '' else format(
        ' and event.occurred_at < exposed.exposed_at + %L::interval + %L::interval', (slot).delay, (slot).period
      ) end
      || case when (slot).ends_at = 'infinity' then '' else format(
        ' and event.occurred_at < %L::timestamptz', (slot).ends_at
      ) end
    end
    || case when (slot).item_id is null then '' else format(
      ' and exists ('
      'select from track.item_ancestor as ancestor'
      ' where ancestor.item_id = event.item_id and ancestor.ancestor_item_id = %s'
      ')',
      (slot).item_id
    ) end
    || case when (slot).property_filter is null then '' else format(
      ' and coalesce(event.properties, ''{}'') in ('
      'select passed.properties from passed where passed.property_filter = %L::jsonb'
      ')',
      (slot).property_filter
    ) end;
end;

comment on function experiment._event_filter(experiment.slot, boolean) is $$
Returns the condition, as text of SQL, on an event that belongs to an outcome of an exposed person.
After the exposure, or in the period before it. The statement has the relations `event` and `exposed`,
and those of `experiment._event_relations`.
$$;
