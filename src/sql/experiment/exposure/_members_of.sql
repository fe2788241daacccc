create or replace function experiment._members_of(set_name text, people bigint[])
returns setof bigint
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Sets that follow from identities, exclusions and lists: each change of these queues the person.
  if exists (
    select
    from track.person_set
    where person_set.name = _members_of.set_name
      and person_set.consumer = 'track.person_set'
  ) then
    return query
    select member.person_id
    from track.members_among(_members_of.set_name, _members_of.people) as member (person_id);
    return;
  end if;

  -- Cohorts: who joins or leaves one is queued when the stored set changes.
  return query
  select entry.person_id
  from unnest(_members_of.people) as entry (person_id)
  join track.person_set_block as stored
    on stored.name = _members_of.set_name
    and stored.block = entry.person_id / 4096
    and get_bit(stored.people, (entry.person_id % 4096)::int) <> 0;
end;
$$;

comment on function experiment._members_of(text, bigint[]) is $$
Returns which of the given people belong to a set, as the exposures count them.
$$;
