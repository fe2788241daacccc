create or replace function track._person_set_bits(person_set track.person_set, people bigint[])
returns table (block int, given bit(4096), members bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_function constant text := coalesce((person_set).members, 'track.listed_people');
  v_members bigint[];
begin
  execute format(
    'select array(select %I.%I($1, $2))', split_part(v_function, '.', 1), split_part(v_function, '.', 2)
  )
  into v_members
  using (person_set).name, people;

  return query
  select
    (entry.person_id / 4096)::int,
    bit_or(track.person_bit(entry.person_id)),
    coalesce(
      bit_or(track.person_bit(entry.person_id)) filter (where member.person_id is not null), b'0'::bit(4096)
    )
  from unnest(people) as entry (person_id)
  left join (
    select distinct named.person_id
    from unnest(v_members) as named (person_id)
    join track.person using (person_id)
  ) as member using (person_id)
  -- Person 0 (anonymized events) is in no set.
  where entry.person_id <> 0
  group by 1;
end;
$$;

comment on function track._person_set_bits(track.person_set, bigint[]) is $$
Returns by block the bits of the given people, and of those who belong to a set as of now.
$$;
