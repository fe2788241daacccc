create or replace function track._event_id(
  occurred_at timestamptz,
  message_hash uuid,
  source_id smallint,
  ahead bigint
)
returns uuid
language sql
immutable
parallel safe
return encode(
  case
    when ahead is null
      then int8send(
        (floor(date_part('epoch', occurred_at at time zone 'UTC') * 1000)::bigint << 16)
        | 28672
        | (get_byte(uuid_send(message_hash), 0) << 4)
      )
      || '\x80'::bytea || substr(uuid_send(message_hash), 2, 5) || int2send(source_id)
    -- 12 and 22 bits of `ahead`, around the variant, and 40 bits of the hash and the source.
    else int8send(
        (floor(date_part('epoch', occurred_at at time zone 'UTC') * 1000)::bigint << 16)
        | 28672
        | (ahead >> 22)
      )
      || int8send(
        (2::bigint << 62)
        | ((ahead & 4194303) << 40)
        | (
          ('x' || encode(substr(uuid_send(message_hash), 1, 5), 'hex'))::bit(40)::bigint
          # (source_id::bigint & 65535)
        )
      )
  end,
  'hex'
)::uuid;

comment on function track._event_id(timestamptz, uuid, smallint, bigint) is $$
Returns a version 7 UUID (RFC 9562): milliseconds, 48 bits of the hash of the message, and the source.
For an event whose time is not that of its client, `ahead` orders the events that have the time of their arrival: see
`track._milliseconds_ahead`. It depends on the message and its arrival only, and not on the order of arrival.
$$;
