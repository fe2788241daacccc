create or replace function track.find_person(person text)
returns bigint
language sql
stable
parallel safe
begin atomic
  -- A userId takes precedence over an equal anonymousId.
  select identity.person_id
  from track.identity
  where identity.external_id = find_person.person
    and identity.kind <> 'none'
  order by identity.kind = 'user' desc
  limit 1;
end;

comment on function track.find_person(text) is $$
@behavior -queryField
Returns the key of the person with a `userId`, or else with an `anonymousId`.
Null when there is none, or when the caller may not read it.
$$;

grant execute on function track.find_person(text) to insights_reader, insights_learner, insights_admin, insights_worker;
