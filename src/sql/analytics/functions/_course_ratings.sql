create or replace function analytics._course_ratings(blocks int[], people bit(4096)[])
returns table (course_id bigint, rating_count bigint, mean_rating float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of queued people.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_event_type_id constant int := (
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    where event_type.name = 'Course Rated'
  );
  v_queued constant bigint[] := coalesce((track.queued_days('-infinity', 'infinity')).people, '{}');
begin
  return query
  with member as materialized (
    select listed.block, listed.people
    from unnest(_course_ratings.blocks, _course_ratings.people) as listed (block, people)

    union all

    select counted.block, counted.people
    from track.person_set_blocks('counted') as counted
    where _course_ratings.blocks is null
  ),

  -- The properties are in the events only: the journeys say which ones to read.
  rated as (
    select event.person_id, event.occurred_at, event.event_id, event.item_id, event.properties
    from track.step
    cross join lateral (select distinct listed.occurred_at from unnest(step.occurred_at) as listed (occurred_at)) as at
    join track.event
      on event.person_id = step.person_id
      and event.occurred_at = at.occurred_at
      and event.event_type_id = step.event_type_id
    where step.event_type_id = v_event_type_id
      and step.person_id <> all (v_queued)

    union

    select event.person_id, event.occurred_at, event.event_id, event.item_id, event.properties
    from track.event
    where event.person_id = any (v_queued)
      and event.event_type_id = v_event_type_id
  ),

  latest as (
    select distinct on (rated.person_id, rated.item_id)
      rated.person_id, rated.item_id, (rated.properties ->> 'rating')::float8 as rating
    from rated
    where jsonb_typeof(rated.properties -> 'rating') = 'number'
      and (rated.properties ->> 'rating')::numeric between 0 and 100
    order by rated.person_id, rated.item_id, rated.occurred_at desc, rated.event_id desc
  )

  select latest.item_id, count(*), avg(latest.rating::numeric)::float8
  from latest
  join member
    on member.block = latest.person_id / 4096
    and get_bit(member.people, (latest.person_id % 4096)::int) <> 0
  join track.item on item.item_id = latest.item_id and item.kind = 'course'
  group by latest.item_id;
end;
$$;

comment on function analytics._course_ratings(int[], bit[]) is $$
Returns the ratings of courses by counted people, as of now: the latest `Course Rated` of each person and course.
Ratings that are not numbers from 0 to 100 are not counted. `blocks`, `people`: counted people, one bit per person;
null: all of them. The ratings are read from the events: the cost grows with the number of ratings.
$$;

grant execute on function analytics._course_ratings(int[], bit[]) to insights_reader;
