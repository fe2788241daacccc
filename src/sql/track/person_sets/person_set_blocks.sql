create or replace function track.person_set_blocks(set_name text)
returns table (block int, people bit(4096))
language plpgsql
stable
parallel safe
-- A definer: the functions of the members are for the owner, and are called for the people that are queued.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_set constant track.person_set := track._find_person_set(person_set_blocks.set_name);
  v_function constant text := coalesce(v_set.members, 'track.listed_people');
  v_queued constant bigint[] := array(
    select distinct changed.person_id
    from track.changed
    where changed.consumer = v_set.consumer
      and changed.person_id <> 0
  );
  v_members bigint[];
begin
  if v_queued = '{}' then
    return query
    select stored.block, stored.people
    from track.person_set_block as stored
    where stored.name = v_set.name;
    return;
  end if;

  execute format(
    'select array(select %I.%I($1, $2))', split_part(v_function, '.', 1), split_part(v_function, '.', 2)
  )
  into v_members
  using v_set.name, v_queued;

  return query
  with queued as (
    select
      (entry.person_id / 4096)::int as block,
      bit_or(track.person_bit(entry.person_id)) as given,
      coalesce(
        bit_or(track.person_bit(entry.person_id)) filter (where member.person_id is not null), b'0'::bit(4096)
      ) as members
    from unnest(v_queued) as entry (person_id)
    left join (select distinct unnest(v_members) as person_id) as member using (person_id)
    group by 1
  )

  select
    coalesce(stored.block, queued.block),
    coalesce(stored.people & ~queued.given | queued.members, stored.people, queued.members)
  from (
    select person_set_block.block, person_set_block.people
    from track.person_set_block
    where person_set_block.name = v_set.name
  ) as stored
  full join queued on queued.block = stored.block;
end;
$$;

comment on function track.person_set_blocks(text) is $$
@behavior -*
Returns the people of a set as `track.person_set_block` stores them, with the people that are queued for a refresh.
It is therefore exact at any moment. Errors: CF002 for an unknown set.
$$;

grant execute on function track.person_set_blocks(text) to insights_reader;
