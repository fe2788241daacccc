create or replace function track._recompute_person_set(person_set track.person_set, people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := (person_set).name;
  v_function constant text := coalesce((person_set).members, 'track.listed_people');
  v_members bigint[];
begin
  execute format(
    'select array(select %I.%I($1, $2))', split_part(v_function, '.', 1), split_part(v_function, '.', 2)
  )
  into v_members
  using v_name, people;

  with given as (
    select distinct entry.person_id
    from unnest(people) as entry (person_id)
    -- Person 0 (anonymized events) is in no set.
    where entry.person_id <> 0
  ),

  member as (
    select distinct entry.person_id
    from unnest(v_members) as entry (person_id)
    join track.person using (person_id)
  ),

  changed as (
    select
      (given.person_id / 4096)::int as block,
      bit_or(track.person_bit(given.person_id)) as given,
      coalesce(
        bit_or(track.person_bit(member.person_id)) filter (where member.person_id is not null), b'0'::bit(4096)
      ) as members
    from given
    left join member using (person_id)
    group by 1
  ),

  fresh as materialized (
    select
      changed.block,
      stored.people as stored,
      coalesce(stored.people & ~changed.given, b'0'::bit(4096)) | changed.members as people
    from changed
    left join track.person_set_block as stored on stored.name = v_name and stored.block = changed.block
  ),

  deleted as (
    delete from track.person_set_block
    using fresh
    where person_set_block.name = v_name
      and person_set_block.block = fresh.block
      and bit_count(fresh.people) = 0
  )

  insert into track.person_set_block (name, block, people)
  select v_name, fresh.block, fresh.people
  from fresh
  where bit_count(fresh.people) > 0
    and fresh.people is distinct from fresh.stored
  on conflict on constraint person_set_block_pkey do update
  set people = excluded.people;
end;
$$;

comment on function track._recompute_person_set(track.person_set, bigint[]) is $$
Recomputes whether the given people belong to a set. The bits of all other people stay as they are.
$$;

create or replace function track.recompute_person_sets(consumer text, people bigint[], set_name text default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- One writer at a time, because a block is read before it is written. track.refresh holds the same lock.
  perform pg_advisory_xact_lock(hashtext(recompute_person_sets.consumer));
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
