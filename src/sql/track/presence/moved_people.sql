create or replace function track.moved_people()
returns setof bigint
language plpgsql
stable
parallel safe
-- A definer: the functions of the members are for the owner, and are called for the people that are queued.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_queued constant bigint[] := array(
    select distinct changed.person_id
    from track.changed
    where changed.consumer = 'track.person_set'
      and changed.person_id <> 0
  );
begin
  if v_queued = '{}' then
    return;
  end if;

  return query
  select distinct queued.person_id
  from (
    select bits.block, coalesce(stored.people & bits.given, b'0'::bit(4096)) # bits.members as people
    from track.person_set
    cross join lateral track._person_set_bits(person_set, v_queued) as bits
    left join track.person_set_block as stored on stored.name = person_set.name and stored.block = bits.block
    where person_set.name in ('counted', 'excluded')
  ) as moved
  join unnest(v_queued) as queued (person_id)
    on queued.person_id / 4096 = moved.block
    and get_bit(moved.people, (queued.person_id % 4096)::int) <> 0;
end;
$$;

comment on function track.moved_people() is $$
@behavior -*
Returns the people who joined or left the sets `counted` or `excluded` since the last refresh of the sets.
The sums of `track.presence`, `track.item_month` and `track.item_day` follow with that refresh.
$$;

grant execute on function track.moved_people() to insights_reader, insights_admin;
