create or replace function track._message_hash(message_id text)
returns uuid
language sql
stable
parallel safe
return encode(substr(sha256(convert_to(message_id, 'UTF8')), 1, 16), 'hex')::uuid;

comment on function track._message_hash(text) is $$
First 128 bits of the SHA-256 of a message's id.
$$;
