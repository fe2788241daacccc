create or replace function track._recompute_person_set(person_set track.person_set, people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := (person_set).name;
  v_joined bigint[];
  v_departed bigint[];
  v_blocks int[];
  v_people bit(4096)[];
begin
  with fresh as materialized (
    select
      changed.block,
      coalesce(stored.people, b'0'::bit(4096)) as stored,
      coalesce(stored.people & ~changed.given, b'0'::bit(4096)) | changed.members as people
    from track._person_set_bits(person_set, _recompute_person_set.people) as changed
    left join track.person_set_block as stored on stored.name = v_name and stored.block = changed.block
  ),

  moved as (
    select entry.person_id, get_bit(fresh.people, (entry.person_id % 4096)::int) <> 0 as is_member
    from fresh
    join unnest(_recompute_person_set.people) as entry (person_id)
      on entry.person_id / 4096 = fresh.block
      and get_bit(fresh.people # fresh.stored, (entry.person_id % 4096)::int) <> 0
    where fresh.people <> fresh.stored
  )

  select
    (select array_agg(fresh.block) from fresh where fresh.people <> fresh.stored),
    (select array_agg(fresh.people) from fresh where fresh.people <> fresh.stored),
    array(select distinct moved.person_id from moved where moved.is_member),
    array(select distinct moved.person_id from moved where not moved.is_member)
  into v_blocks, v_people, v_joined, v_departed;

  if v_blocks is null then
    return;
  end if;
  perform track._move_sums(v_name, v_joined, v_departed);
  -- Sets that are computed from identities change with another input.
  if (person_set).members is null then
    perform track._enqueue('set', v_joined || v_departed);
  elsif (person_set).consumer <> 'track.person_set' then
    insert into track.changed (person_id, consumer, since, until)
    select moved.person_id, consumer.consumer, '-infinity', 'infinity'
    from unnest(v_joined || v_departed) as moved (person_id)
    cross join track.consumer
    where 'set' = any (consumer.inputs)
      and consumer.consumer <> (person_set).consumer;
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

comment on function track._recompute_person_set(track.person_set, bigint[]) is $$
Recomputes whether the given people belong to a set. The bits of all other people stay as they are.
The sums that contain the people of the set follow (`track._move_sums`).
$$;

create or replace function track.recompute_person_sets(consumer text, people bigint[], set_name text default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- One writer at a time, because a block is read before it is written. track.refresh holds the same lock.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  perform track._recompute_person_set(person_set, recompute_person_sets.people)
  from track.person_set
  where person_set.consumer = recompute_person_sets.consumer
    and person_set.name = coalesce(recompute_person_sets.set_name, person_set.name);
end;
$$;

comment on function track.recompute_person_sets(text, bigint[], text) is $$
@behavior -*
Recomputes which of the given people belong to the sets of a consumer, or to one of them.
A room whose sets are derived from its own rollups registers a consumer after that of the rollup, whose refresh
function calls this one with the name of the consumer.
$$;
