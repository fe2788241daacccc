create or replace function track._stored_events(messages jsonb, source smallint, stored_at timestamptz)
returns table (message_id text, occurred_at timestamptz, event_id uuid, identity_id bigint)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  return query
  with message as materialized (
    select
      entry.value ->> 'messageId' as id,
      track._message_hash(entry.value ->> 'messageId') as hash,
      coalesce(entry.value ->> 'userId', entry.value ->> 'anonymousId') as name,
      case when entry.value ? 'userId' then '{user}'::text[] else '{anonymous,unverified}' end as kinds,
      (entry.value ->> 'timestamp')::timestamptz as sent_at
    from jsonb_array_elements(_stored_events.messages) as entry
  ),

  -- The time of an event is that of its message, or, if this is in the future, the arrival.
  period as materialized (
    select message.id, message.hash, identity.person_id, identity.identity_id, message.sent_at as since,
      message.sent_at as until
    from message
    join track.identity on identity.external_id = message.name and identity.kind = any (message.kinds)

    union all

    select message.id, message.hash, identity.person_id, identity.identity_id, _stored_events.stored_at,
      _stored_events.stored_at + interval '1 minute'
    from message
    join track.identity on identity.external_id = message.name and identity.kind = any (message.kinds)
  )

  select distinct period.id, event.occurred_at, event.event_id, event.identity_id
  from period
  join track.event
    on event.person_id = period.person_id
    and event.identity_id = period.identity_id
    and event.occurred_at between period.since and period.until
  where event.source_id = _stored_events.source
    and event.event_id = track._event_id(
      event.occurred_at, period.hash, event.source_id,
      case
        when event.client_at is not null then track._milliseconds_ahead(event.client_at, event.received_at)
      end
    );
end;
$$;

comment on function track._stored_events(jsonb, smallint, timestamptz) is $$
Returns the events of messages that were stored at a time, with the people that they name.
A message that was refused or anonymized has none.
$$;
