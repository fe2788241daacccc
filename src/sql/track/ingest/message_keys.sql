create or replace function track._message_hash(message_id text)
returns uuid
language sql
stable
parallel safe
return encode(substr(sha256(convert_to(message_id, 'UTF8')), 1, 16), 'hex')::uuid;

comment on function track._message_hash(text) is $$
First 128 bits of the SHA-256 of a message's id.
$$;

create or replace function track._clamped_event_id(
  occurred_at timestamptz,
  message_hash uuid,
  source_id smallint,
  ahead bigint
)
returns uuid
language sql
immutable
parallel safe
-- 12 and 22 bits of the milliseconds between the version, the variant and 40 bits of the hash.
return encode(
  int8send(
    (floor(date_part('epoch', occurred_at at time zone 'UTC') * 1000)::bigint << 16)
    | 28672
    | (greatest(least(ahead + 8589934592, 17179869183), 0) >> 22)
  )
  || int8send(
    (2::bigint << 62)
    | ((greatest(least(ahead + 8589934592, 17179869183), 0) & 4194303) << 40)
    | (
      ('x' || encode(substr(uuid_send(message_hash), 1, 5), 'hex'))::bit(40)::bigint
      # (source_id::bigint & 65535)
    )
  ),
  'hex'
)::uuid;

comment on function track._clamped_event_id(timestamptz, uuid, smallint, bigint) is $$
Returns a version 7 UUID for an event whose time is not that of its client.
`ahead` is the time of the client less the arrival, in milliseconds, of which up to 99 days are kept. It orders the
events of a batch that have the time of its arrival.
$$;

create or replace function track._event_id(
  occurred_at timestamptz,
  message_hash uuid,
  source_id smallint,
  received_at timestamptz,
  client_at timestamptz
)
returns uuid
language sql
immutable
parallel safe
-- At UTC, because the epoch of a timestamptz is only stable, and an immutable function over it is never inlined.
return case
  when client_at is null
    then encode(
      int8send(
        (floor(date_part('epoch', occurred_at at time zone 'UTC') * 1000)::bigint << 16)
        | 28672
        | (get_byte(uuid_send(message_hash), 0) << 4)
      )
      || '\x80'::bytea || substr(uuid_send(message_hash), 2, 5) || int2send(source_id),
      'hex'
    )::uuid
  else track._clamped_event_id(
    occurred_at,
    message_hash,
    source_id,
    floor(date_part('epoch', client_at at time zone 'UTC') * 1000)::bigint
      - floor(date_part('epoch', received_at at time zone 'UTC') * 1000)::bigint
  )
end;

comment on function track._event_id(timestamptz, uuid, smallint, timestamptz, timestamptz) is $$
Returns a version 7 UUID (RFC 9562): milliseconds, 48 bits of the hash of the message, and the source.
It depends on the message and its arrival only, and not on the order of arrival.
$$;
