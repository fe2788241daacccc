create or replace function track._store_events(
  messages track.parsed_message[],
  identities bigint[],
  people bigint[],
  source smallint
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  with placed as materialized (
    select
      people[message.ordinality] as person_id, message.occurred_at, message.message_hash,
      identities[message.ordinality] as identity_id,
      coalesce(event_type.merged_event_type_id, event_type.event_type_id) as event_type_id,
      coalesce(item.merged_item_id, item.item_id) as item_id, message.received_at, message.properties,
      message.client_at,
      case
        when message.client_at is not null then track._milliseconds_ahead(message.client_at, message.received_at)
      end as ahead,
      case when event_type.merged_event_type_id is not null then event_type.event_type_id end as named_event_type_id,
      case when item.merged_item_id is not null then item.item_id end as named_item_id
    from unnest(messages) with ordinality as message
    join track.event_type on event_type.name = message.event_name
    left join track.item on item.external_id = message.item
  ),

  stored as (
    insert into track.event (
      person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties,
      client_at, named_event_type_id, named_item_id
    )
    select
      placed.person_id,
      placed.occurred_at,
      track._event_id(placed.occurred_at, placed.message_hash, _store_events.source, placed.ahead),
      placed.identity_id,
      placed.event_type_id,
      placed.item_id,
      placed.received_at,
      _store_events.source,
      placed.properties,
      placed.client_at,
      placed.named_event_type_id,
      placed.named_item_id
    from placed
  )

  -- By month, so that an old and a new event of a batch do not queue the months between them.
  insert into track.stale (person_id, since, until)
  select placed.person_id, min(placed.occurred_at), max(placed.occurred_at)
  from placed
  group by placed.person_id, date_trunc('month', placed.occurred_at, 'UTC');
end;
$$;

comment on function track._store_events(track.parsed_message[], bigint[], bigint[], smallint) is $$
Stores the events of messages with their identities and people, and queues their people for the refresh of sessions.
$$;
