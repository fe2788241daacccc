create or replace function track._message_hash(message_id text)
returns uuid
language sql
stable
parallel safe
return encode(substr(sha256(convert_to(message_id, 'UTF8')), 1, 16), 'hex')::uuid;

comment on function track._message_hash(text) is $$
First 128 bits of the SHA-256 of a message's id.
$$;

create or replace function track._event_id(occurred_at timestamptz, message_hash uuid, source_id smallint)
returns uuid
language sql
immutable
parallel safe
-- At UTC, because the epoch of a timestamptz is only stable, and an immutable function over it is never inlined.
return encode(
  int8send(
    (floor(date_part('epoch', occurred_at at time zone 'UTC') * 1000)::bigint << 16)
    | 28672
    | (get_byte(uuid_send(message_hash), 0) << 4)
  )
  || '\x80'::bytea || substr(uuid_send(message_hash), 2, 5) || int2send(source_id),
  'hex'
)::uuid;

comment on function track._event_id(timestamptz, uuid, smallint) is $$
Returns a version 7 UUID (RFC 9562): milliseconds, 48 bits of the hash of the message, and the source.
It depends on the message only, and not on the order of arrival.
$$;
