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
  v_queued constant bigint[] := array(
    select changed.person_id
    from track.changed
    where changed.consumer = v_set.consumer
      and changed.person_id <> 0

    union

    -- Queued for the consumer after the refresh of their sessions. The sets of track.person_set read no events.
    select stale.person_id
    from track.stale
    join track.consumer on consumer.consumer = v_set.consumer and 'event' = any (consumer.inputs)
    where v_set.consumer <> 'track.person_set'
      and stale.person_id <> 0
  );
begin
  if v_queued = '{}' then
    return query
    select stored.block, stored.people
    from track.person_set_block as stored
    where stored.name = v_set.name;
    return;
  end if;

  return query
  select
    coalesce(stored.block, queued.block),
    coalesce(stored.people & ~queued.given | queued.members, stored.people, queued.members)
  from (
    select person_set_block.block, person_set_block.people
    from track.person_set_block
    where person_set_block.name = v_set.name
  ) as stored
  full join track._person_set_bits(v_set, v_queued) as queued on queued.block = stored.block;
end;
$$;

comment on function track.person_set_blocks(text) is $$
@behavior -*
Returns the people of a set as `track.person_set_block` stores them, with the people that are queued for a refresh.
It is therefore exact at any moment. Errors: CF002 for an unknown set.
$$;

grant execute on function track.person_set_blocks(text) to insights_reader;
