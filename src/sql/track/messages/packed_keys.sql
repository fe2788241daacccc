/*
 * The place of a hash in track.packed_message. `hash` is `uuid_send` of the 128 bits. The first 32 bits determine the
 * node, bits 8 to 71 are the remainder, bits 72 to 87 the tag.
 */
create or replace function track._hash_start(hash bytea)
returns bigint
language sql
immutable
parallel safe
return (get_byte(hash, 0)::bigint << 24) | (get_byte(hash, 1) << 16) | (get_byte(hash, 2) << 8) | get_byte(hash, 3);

comment on function track._hash_start(bytea) is $$
Returns the first 32 bits of the hash of a message.
$$;

create or replace function track._packed_node(start bigint, depth int)
returns int
language sql
immutable
parallel safe
return (1 << depth) + (start >> (32 - depth))::int;

comment on function track._packed_node(bigint, int) is $$
Returns the key of the row of `track.packed_message` for hashes with the given first 32 bits.
$$;

create or replace function track._packed_tag(hash bytea)
returns smallint
language sql
immutable
parallel safe
-- From -32767, so that a tag less 1 is a smallint.
return greatest((get_byte(hash, 9) << 8 | get_byte(hash, 10)) - 32768, -32767)::smallint;

comment on function track._packed_tag(bytea) is $$
Returns the tag of the hash of a message: 16 bits.
$$;

create or replace function track._packed_remainder(hash bytea, source_id smallint)
returns bigint
language sql
immutable
parallel safe
return ('x' || encode(substr(hash, 2, 8), 'hex'))::bit(64)::bigint # (source_id::bigint & 65535);

comment on function track._packed_remainder(bytea, smallint) is $$
Returns the remainder of the hash of a message: 64 bits, of which the last 16 are combined with the source.
$$;
