create or replace function analytics._presence(
  event_type_id int, bounds timestamptz[], item_id bigint default null
)
returns table (bucket int, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_first_day constant date := (bounds[1] at time zone 'UTC')::date;
  v_end_day constant date := (bounds[cardinality(bounds)] at time zone 'UTC')::date;
  v_by_day constant boolean := not exists (
    select from unnest(bounds) as bound where isfinite(bound) and bound <> date_trunc('day', bound)
  );
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _presence.item_id
  );
  -- Null: all.
  v_event_types constant int[] := case when _presence.event_type_id <> 0 then array[_presence.event_type_id] end;
  v_queued record;
  v_is_queued boolean;
begin
  if not v_by_day or _presence.item_id is not null and _presence.event_type_id <> 0 then
    return query
    select
      person_bucket.bucket, (person_bucket.person_id / 4096)::int,
      bit_or(track.person_bit(person_bucket.person_id))
    from analytics._person_buckets(_presence.event_type_id, _presence.bounds, _presence.item_id) as person_bucket
    where person_bucket.person_id <> 0
    group by 1, 2;
    return;
  end if;

  v_queued := track.queued_days(v_first_day, v_end_day);
  v_is_queued := v_queued.people is not null;
  if _presence.item_id is not null then
    return query
    with excluded as materialized (
      select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
    ),

    used as (
      select
        width_bucket((item_month.month + place)::timestamptz, _presence.bounds) as bucket,
        item_month.part::bigint * 32768 + listed.person as person_id
      from track.item_month
      cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
      join generate_series(0, 30) as place on listed.days & (1 << place) <> 0
      left join unnest(v_queued.people, v_queued.first_days, v_queued.end_days)
        as queued (person_id, first_day, end_day)
        on queued.person_id = item_month.part::bigint * 32768 + listed.person
        and item_month.month + place >= queued.first_day
        and item_month.month + place < queued.end_day
      where item_month.item_id = any (v_items)
        and item_month.month > v_first_day - 31
        and item_month.month < v_end_day
        and queued.person_id is null

      union all

      select width_bucket(activity.day::timestamptz, _presence.bounds), activity.person_id
      from track.event_activity(v_queued.people, v_queued.first_days, v_queued.end_days) as activity
      where activity.item_id = any (v_items)
        and activity.person_id <> 0
    ),

    by_block as (
      select
        distinct_use.bucket, (distinct_use.person_id / 4096)::int as block,
        bit_or(track.person_bit(distinct_use.person_id)) as people
      from (
        select used.bucket, used.person_id
        from used
        where used.bucket between 1 and cardinality(_presence.bounds) - 1
        group by 1, 2
      ) as distinct_use
      group by 1, 2
    )

    select by_block.bucket, by_block.block, by_block.people & ~coalesce(excluded.people, v_no_people)
    from by_block
    left join excluded on excluded.block = by_block.block
    where bit_count(by_block.people & ~coalesce(excluded.people, v_no_people)) > 0;
    return;
  end if;

  return query
  with excluded as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
  ),

  change as materialized (
    select
      queued.day,
      (queued.person_id / 4096)::int as block,
      coalesce(bit_or(track.person_bit(queued.person_id)) filter (where queued.was), v_no_people) as cleared,
      coalesce(bit_or(track.person_bit(queued.person_id)) filter (where not queued.was), v_no_people) as added
    from (
      select activity.person_id, activity.day, true as was
      from track.stored_activity(v_queued.people, v_queued.first_days, v_queued.end_days, v_event_types) as activity
      where v_is_queued
        and (_presence.event_type_id <> 0 or activity.event_count > activity.automatic_count)
      union all
      select activity.person_id, activity.day, false
      from track.event_activity(v_queued.people, v_queued.first_days, v_queued.end_days, v_event_types) as activity
      where v_is_queued
        and (_presence.event_type_id <> 0 or activity.event_count > activity.automatic_count)
    ) as queued
    where queued.person_id <> 0
    group by 1, 2
  ),

  by_block as (
    select
      width_bucket(presence.day::timestamptz, _presence.bounds) as bucket,
      presence.block,
      bit_or(
        case when change.cleared is null then presence.people else presence.people & ~change.cleared end
      ) as people
    from track.presence
    left join change on v_is_queued and change.day = presence.day and change.block = presence.block
    where presence.event_type_id = _presence.event_type_id
      and presence.day >= v_first_day
      and presence.day < v_end_day
    group by 1, 2

    union all

    select width_bucket(change.day::timestamptz, _presence.bounds), change.block, bit_or(change.added)
    from change
    where change.day >= v_first_day
      and change.day < v_end_day
    group by 1, 2
  )

  select present.bucket, present.block, present.people
  from (
    select
      by_block.bucket, by_block.block, bit_or(by_block.people) & ~coalesce(excluded.people, v_no_people) as people
    from by_block
    left join excluded on excluded.block = by_block.block
    group by by_block.bucket, by_block.block, excluded.people
  ) as present
  where bit_count(present.people) > 0;
end;
$$;

comment on function analytics._presence(int, timestamptz[], bigint) is $$
Returns the people with an event in each bucket, one bit per person, with the privileges of the caller.
Of people who are not excluded; a bucket and block without people has no row. The arguments are those of
`analytics._person_buckets`. Buckets of whole days (UTC) are read from `track.presence`, and the use of an item from
`track.item_month`; all others from the journeys. The changes of people who are queued for a refresh are included.
$$;

grant execute on function analytics._presence(int, timestamptz[], bigint) to insights_reader;
