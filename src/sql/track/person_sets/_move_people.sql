create or replace function track._move_people(person_set track.person_set, members bigint[], others bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_name constant text := (person_set).name;
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_joined bigint[];
  v_departed bigint[];
  v_blocks int[];
  v_people bit(4096)[];
begin
  with entry as (
    select entry.person_id, true as is_member from unnest(_move_people.members) as entry (person_id)
    union all
    select entry.person_id, false from unnest(_move_people.others) as entry (person_id)
  ),

  stored as materialized (
    select stored.block, stored.people
    from track.person_set_block as stored
    where stored.name = v_name
      and stored.block = any (array(select distinct (entry.person_id / 4096)::int from entry))
  ),

  moved as materialized (
    select distinct entry.person_id, (entry.person_id / 4096)::int as block, entry.is_member
    from entry
    left join stored on stored.block = entry.person_id / 4096
    -- Person 0 (anonymized events) is in no set.
    where entry.person_id <> 0
      and (coalesce(get_bit(stored.people, (entry.person_id % 4096)::int), 0) <> 0) <> entry.is_member
  ),

  fresh as (
    select
      part.block,
      coalesce(stored.people, v_no_people) & ~coalesce(part.departed, v_no_people) | coalesce(part.joined, v_no_people)
        as people
    from (
      select
        moved.block,
        bit_or(track.person_bit(moved.person_id)) filter (where moved.is_member) as joined,
        bit_or(track.person_bit(moved.person_id)) filter (where not moved.is_member) as departed
      from moved
      group by moved.block
    ) as part
    left join stored using (block)
  )

  select
    (select array_agg(fresh.block order by fresh.block) from fresh),
    (select array_agg(fresh.people order by fresh.block) from fresh),
    array(select moved.person_id from moved where moved.is_member),
    array(select moved.person_id from moved where not moved.is_member)
  into v_blocks, v_people, v_joined, v_departed;

  if v_blocks is null then
    return;
  end if;
  perform track._move_sums(v_name, v_joined, v_departed);
  -- Sets that are computed from identities change with another input.
  if (person_set).members is null then
    perform track._enqueue_set(v_name, v_joined || v_departed);
  elsif (person_set).consumer <> 'track.person_set' then
    perform track._enqueue_set(v_name, v_joined || v_departed, (person_set).consumer);
  end if;

  delete from track.person_set_block
  using unnest(v_blocks, v_people) as fresh (block, people)
  where person_set_block.name = v_name
    and person_set_block.block = fresh.block
    and bit_count(fresh.people) = 0;
  insert into track.person_set_block (name, block, people)
  select v_name, fresh.block, fresh.people
  from unnest(v_blocks, v_people) as fresh (block, people)
  where bit_count(fresh.people) > 0
  on conflict on constraint person_set_block_pkey do update
  set people = excluded.people;
end;
$$;

comment on function track._move_people(track.person_set, bigint[], bigint[]) is $$
Stores that the `members` belong to a set, and that the `others` do not. The bits of all other people stay as they are.
The sums that contain the people of the set follow (`track._move_sums`), as do the consumers that read the set.
$$;
