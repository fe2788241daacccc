create or replace function privacy._hashed_names(kinds text[], names text[])
returns table (kind text, name text, name_hash bytea)
language plpgsql
stable
-- A definer: no role may read the key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  return query
  select
    entry.kind, entry.name,
    sha256(
      outer_key.block || sha256(
        inner_key.block || convert_to(
          case entry.kind when 'unverified' then 'anonymous' else entry.kind end || ' ' || entry.name, 'UTF8'
        )
      )
    )
  from (
    select distinct given.kind, given.name
    from unnest(_hashed_names.kinds, _hashed_names.names) as given (kind, name)
  ) as entry
  -- Each key fills a block of SHA-256.
  cross join (
    select secret.secret || decode(repeat('00', 32), 'hex') as block
    from privacy.secret
    where secret.purpose = 'suppression_inner'
  ) as inner_key
  cross join (
    select secret.secret || decode(repeat('00', 32), 'hex') as block
    from privacy.secret
    where secret.purpose = 'suppression_outer'
  ) as outer_key;
end;
$$;

comment on function privacy._hashed_names(text[], text[]) is $$
Returns each of the names once, with its keyed hash: a nested SHA-256 with two keys, as HMAC.
An anonymousId that was sent without proof (`unverified`) is the same name as the `anonymous` one.
Source: Bellare, Canetti, Krawczyk, Keying hash functions for message authentication, CRYPTO 1996.
$$;
