create or replace function track.held_names(people bigint[])
returns setof privacy.identity_name
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
begin
  perform track.lock_identities(array(
    select identity.identity_id
    from track.identity
    where identity.person_id = any (held_names.people)
      and (identity.kind = 'user' or identity.identity_id = identity.person_id)
  ));
  return query
  select identity.identity_id, identity.person_id, identity.external_id
  from track.identity
  where identity.person_id = any (held_names.people)
    and (identity.kind = 'user' or identity.identity_id = identity.person_id)
  order by identity.identity_id;
end;
$$;

comment on function track.held_names(bigint[]) is $$
@behavior -*
Returns the names under which people are known, and holds them: until the transaction ends, none is deleted.
They are the user identities, of which a person has several after a merge; of a person without one, it is the key.
Registered in `privacy.setting.held_names_function`.
$$;
