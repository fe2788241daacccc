create or replace function track.find_person(person text)
returns bigint
language sql
stable
parallel safe
begin atomic
  -- A userId takes precedence over an equal anonymousId, and the present user of a browser over earlier ones.
  select identity.person_id
  from track.identity
  where identity.external_id = find_person.person
    and identity.kind in ('user', 'anonymous')
  order by
    identity.kind = 'user' desc,
    (
      select max(link.linked_at)
      from track.identity_link as link
      where link.identity_id = identity.identity_id
        and link.linked_identity_id = identity.user_identity_id
        and link.kind <> 'claim'
        and link.unlinked_at is null
    ) desc nulls last
  limit 1;
end;

comment on function track.find_person(text) is $$
@behavior -queryField
Returns the key of the person with a `userId`, or else with an `anonymousId`: the one who identified on it last.
Null when there is none, or when the caller may not read it.
$$;

grant execute on function track.find_person(text) to insights_reader, insights_learner, insights_admin, insights_worker;
