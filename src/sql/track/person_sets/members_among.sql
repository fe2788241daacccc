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
  select bits.block::bigint * 4096 + entry.person_id % 4096
  from track.person_set
  cross join lateral track._person_set_bits(person_set, members_among.people) as bits
  join (select distinct given.person_id from unnest(members_among.people) as given (person_id)) as entry
    on entry.person_id / 4096 = bits.block
    and get_bit(bits.members, (entry.person_id % 4096)::int) <> 0
  where person_set.name = members_among.name;
end;
$$;

comment on function track.members_among(text, bigint[]) is $$
@behavior -*
Returns which of the given people belong to a set, computed from its definition.
That is as of now, also for people who are queued for a refresh. A set that does not exist has no people.
$$;

grant execute on function track.members_among(text, bigint[]) to insights_reader;
