create or replace function track._store_stated_enrolments(
  messages track.parsed_message[],
  identities bigint[],
  source smallint
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_identities bigint[];
  v_items bigint[];
begin
  select array_agg(_store_stated_enrolments.identities[message.ordinality]), array_agg(item.item_id)
  into v_identities, v_items
  from unnest(messages) with ordinality as message
  join track.event_type on event_type.name = message.event_name
  join track.event_type as meaning
    on coalesce(meaning.merged_event_type_id, meaning.event_type_id)
      = coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    and meaning.name in ('Course Enrolled', 'Course Dropped', 'Course Completed')
  join track.item on item.external_id = message.item;
  if v_items is null then
    return;
  end if;
  update track.source
  set states_enrolments = true
  where source.source_id = _store_stated_enrolments.source
    and not source.states_enrolments;
  perform track._derive_enrolments(v_identities, v_items);
end;
$$;

comment on function track._store_stated_enrolments(track.parsed_message[], bigint[], smallint) is $$
Stores the enrolments that the messages of an import state by their events.
$$;
