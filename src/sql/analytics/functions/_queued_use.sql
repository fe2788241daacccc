create or replace function analytics._queued_use(people bigint[], first_days date[], end_days date[])
returns table (
  person_id bigint, day date, item_id bigint, event_count int, engaged interval, was boolean
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _queued_use.people is null then
    return;
  end if;

  return query
  select activity.person_id, activity.day, activity.item_id, activity.event_count, activity.engaged, true
  from track.stored_activity(_queued_use.people, _queued_use.first_days, _queued_use.end_days) as activity
  join track.person_set_block as stored
    on stored.name = 'counted'
    and stored.block = activity.person_id / 4096
    and get_bit(stored.people, (activity.person_id % 4096)::int) <> 0
  where activity.item_id is not null

  union all

  select activity.person_id, activity.day, activity.item_id, activity.event_count, activity.engaged, false
  from track.event_activity(_queued_use.people, _queued_use.first_days, _queued_use.end_days) as activity
  join track.person_set_blocks('counted') as counted
    on counted.block = activity.person_id / 4096
    and get_bit(counted.people, (activity.person_id % 4096)::int) <> 0
  where activity.item_id is not null;
end;
$$;

comment on function analytics._queued_use(bigint[], date[], date[]) is $$
Returns the use of items by counted people on days that are queued for a refresh.
`was`: as the rollups contain it; otherwise as of now.
$$;

grant execute on function analytics._queued_use(bigint[], date[], date[]) to insights_reader;
