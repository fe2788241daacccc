create or replace function track.find_person(person text)
returns bigint
language sql
stable
parallel safe
begin atomic
  -- A sub-query, which a query that compares rows with the result computes once.
  select identity.person_id
  from track.identity
  where identity.identity_id = (select track.find_identity(find_person.person));
end;

comment on function track.find_person(text) is $$
@behavior -queryField
Returns the key of the person with a `userId`, or else with an `anonymousId`: the one who identified on it last.
Null when there is none, or when the caller may not read it.
$$;

grant execute on function track.find_person(text) to insights_reader, insights_learner, insights_admin, insights_worker;
