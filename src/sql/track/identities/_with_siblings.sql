create or replace function track._with_siblings(identity_ids bigint[])
returns bigint[]
language sql
stable
parallel safe
begin atomic
  select array(
    select identity_id
    from unnest(_with_siblings.identity_ids) as identity_id

    union

    select sibling.identity_id
    from track.identity
    join track.identity as sibling on sibling.external_id = identity.external_id and sibling.kind = 'anonymous'
    where identity.identity_id = any (_with_siblings.identity_ids)
      and identity.kind = 'anonymous'
  );
end;

comment on function track._with_siblings(bigint[]) is $$
Returns the given identities, and the other identities of the same browsers.
A transaction that moves one of them locks all of them, so that a transaction that stores data for one locks only it.
$$;
