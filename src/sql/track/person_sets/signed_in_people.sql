create or replace function track.signed_in_people(set_name text, people bigint[])
returns setof bigint
language sql
stable
parallel safe
begin atomic
  -- The key of a person is the key of its oldest user identity, if it has one.
  select identity.person_id
  from track.identity
  where identity.identity_id = any (signed_in_people.people)
    and identity.person_id = identity.identity_id
    and identity.kind = 'user';
end;

comment on function track.signed_in_people(text, bigint[]) is $$
@behavior -*
Returns which of the given people have signed in at some time: those with a user identity.
The members of the set `signed_in`; see `track.person_set`.
$$;
