create or replace function track.excluded_people(set_name text, people bigint[])
returns setof bigint
language sql
stable
parallel safe
begin atomic
  select identity.person_id
  from track.identity
  join track.exclusion using (identity_id)
  where identity.person_id = any (excluded_people.people)

  union

  select restricted.person_id
  from privacy.restricted(excluded_people.people) as restricted (person_id)
  where restricted.person_id = any (excluded_people.people);
end;

comment on function track.excluded_people(text, bigint[]) is $$
@behavior -*
Returns which of the given people are excluded.
Those with an excluded identity (`track.exclude_person`), and those whose data is restricted
(`privacy.restrict_person`).
The members of the set `excluded`; see `track.person_set`.
$$;
