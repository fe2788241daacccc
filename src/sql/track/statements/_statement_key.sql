create or replace function track._statement_key(source smallint, kind text, value text)
returns bigint
language sql
stable
strict
parallel safe
set search_path to pg_catalog, pg_temp
return (
  'x' || left(encode(sha256(convert_to(concat_ws(E'\n', source, kind, value), 'UTF8')), 'hex'), 16)
)::bit(64)::bigint;

comment on function track._statement_key(smallint, text, text) is $$
Returns the first 64 bits of the SHA-256 of what a statement is found by. Names of people have the source 0.
$$;
