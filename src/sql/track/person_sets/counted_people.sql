create or replace function track.counted_people(set_name text, people bigint[])
returns setof bigint
language sql
stable
parallel safe
begin atomic
  select signed_in.person_id
  from track.signed_in_people(counted_people.set_name, counted_people.people) as signed_in (person_id)
  -- Hashed once, where an anti-join would read the exclusions again for each person.
  where signed_in.person_id not in (
    select identity.person_id
    from track.exclusion
    join track.identity using (identity_id)
    where identity.person_id = any (counted_people.people)
  )
  and signed_in.person_id not in (
    select restricted.person_id
    from privacy.restricted(counted_people.people) as restricted (person_id)
  );
end;

comment on function track.counted_people(text, bigint[]) is $$
@behavior -*
Returns which of the given people count.
Those who have signed in, none of whose identities is excluded, and whose data is not restricted. The members of the
set `counted`; see `track.person_set` and `track.exclusion`.
$$;
