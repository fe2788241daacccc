create or replace function track._stored_events(messages jsonb, source smallint, stored_at timestamptz)
returns table (message_id text, occurred_at timestamptz, event_id uuid, identity_id bigint)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  return query
  with message as (
    select
      entry.value ->> 'messageId' as id,
      coalesce(entry.value ->> 'userId', entry.value ->> 'anonymousId') as name,
      case when entry.value ? 'userId' then '{user}'::text[] else '{anonymous,unverified}' end as kinds,
      (entry.value ->> 'timestamp')::timestamptz as sent_at
    from jsonb_array_elements(_stored_events.messages) as entry
  ),

  -- The time of an event is that of its message, or, if this is in the future, the arrival.
  period as (
    select message.*, period.since, period.until
    from message
    cross join lateral (
      values
        (message.sent_at, message.sent_at),
        (_stored_events.stored_at, _stored_events.stored_at + interval '1 minute')
    ) as period (since, until)
    where period.since <= _stored_events.stored_at or message.sent_at > _stored_events.stored_at
  )

  select distinct period.id, event.occurred_at, event.event_id, event.identity_id
  from period
  join track.identity on identity.external_id = period.name and identity.kind = any (period.kinds)
  join track.event
    on event.person_id = identity.person_id
    and event.identity_id = identity.identity_id
    and event.occurred_at between period.since and period.until
  where event.source_id = _stored_events.source
    and event.event_id = track._event_id(
      event.occurred_at, track._message_hash(period.id), event.source_id,
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
