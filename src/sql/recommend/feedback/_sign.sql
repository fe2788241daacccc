create or replace function recommend._sign(
  payload text,
  inner_key bytea,
  outer_key bytea
)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- plpgsql, because each row of a list is signed: a function in SQL would be planned for each of them.
  return payload || '.' || encode(
    substr(sha256(outer_key || sha256(inner_key || convert_to(payload, 'UTF8'))), 1, 16), 'hex'
  );
end;
$$;

comment on function recommend._sign(text, bytea, bytea) is $$
@behavior -*
Returns the payload followed by a dot and its signature: a nested SHA-256 with two keys, truncated to 128 bits.
The payload of a `serving_id` begins with a digit; what is signed for another use must begin with a letter.
Source: Bellare, Canetti, Krawczyk, Keying hash functions for message authentication, CRYPTO 1996.
$$;
