create or replace function track.members_among(name text, people bigint[])
returns setof bigint
language plpgsql
stable
parallel safe
-- A definer: the functions of the members are for the owner.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  return query
  select member.person_id
  from track.person_set
  cross join lateral track._members_of_set(person_set, members_among.people) as member (person_id)
  where person_set.name = members_among.name;
end;
$$;

comment on function track.members_among(text, bigint[]) is $$
@behavior -*
Returns which of the given people belong to a set, computed from its definition.
That is as of now, also for people who are queued for a refresh. A set that does not exist has no people.
$$;

grant execute on function track.members_among(text, bigint[]) to insights_reader;
