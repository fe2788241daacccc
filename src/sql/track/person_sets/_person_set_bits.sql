create or replace function track._person_set_bits(person_set track.person_set, people bigint[])
returns table (block int, given bit(4096), members bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    (entry.person_id / 4096)::int,
    bit_or(track.person_bit(entry.person_id)),
    coalesce(
      bit_or(track.person_bit(entry.person_id)) filter (where member.person_id is not null), b'0'::bit(4096)
    )
  from unnest(people) as entry (person_id)
  left join track._members_of_set(person_set, people) as member (person_id) using (person_id)
  -- Person 0 (anonymized events) is in no set.
  where entry.person_id <> 0
  group by 1;
end;
$$;

comment on function track._person_set_bits(track.person_set, bigint[]) is $$
Returns by block the bits of the given people, and of those who belong to a set as of now.
$$;
