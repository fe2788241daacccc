create or replace function track.listed_people(set_name text, people bigint[])
returns setof bigint
language sql
stable
parallel safe
begin atomic
  select identity.person_id
  from track.identity
  join track.person_set_member using (identity_id)
  where identity.person_id = any (listed_people.people)
    and person_set_member.name = listed_people.set_name;
end;

comment on function track.listed_people(text, bigint[]) is $$
@behavior -*
Returns which of the given people are listed as members of a set, by one of their identities.
The members of sets without a function; see `track.person_set`.
$$;
