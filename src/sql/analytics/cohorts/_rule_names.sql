create or replace function analytics._rule_names(rule jsonb)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select md5(coalesce(string_agg(named.meaning, ',' order by named.meaning), ''))
    from (
      select format('event %s', coalesce(event_type.merged_event_type_id, event_type.event_type_id)) as meaning
      from jsonb_path_query(_rule_names.rule, 'strict $.** ? (exists (@.event)).event') as found (value)
      join track.event_type on event_type.name = found.value #>> '{}'

      union all

      select format('enrolment %s', coalesce(known.merged_item_id, known.item_id))
      from jsonb_path_query(_rule_names.rule, 'strict $.** ? (exists (@.enrolment)).enrolment') as found (value)
      join track.item as known on known.external_id = found.value #>> '{}'

      union all

      select format('item %s', string_agg(ancestor.item_id::text, ' ' order by ancestor.item_id))
      from jsonb_path_query(_rule_names.rule, 'strict $.** ? (exists (@.item)).item') as found (value)
      join track.item as known on known.external_id = found.value #>> '{}'
      join track.item_ancestor as ancestor
        on ancestor.ancestor_item_id = coalesce(known.merged_item_id, known.item_id)
      group by found.value
    ) as named
  );
end;
$$;

comment on function analytics._rule_names(jsonb) is $$
Returns a hash of what the names in a rule mean now: event types, items with what they contain.
$$;
