create or replace function recommend._segment_popularity()
returns table (kind text, list text, item_id bigint, score float8)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_smallest_group constant int := (select smallest_group from analytics.setting);
begin
  return query
  with taken as (
    select course_presence.item_id, course_presence.block, bit_or(course_presence.people) as people
    from track.course_presence
    group by course_presence.item_id, course_presence.block

    union all

    -- Items of the other kinds that have a recommender.
    select
      ancestor.ancestor_item_id,
      (interaction.person_id / 4096)::int,
      bit_or(b'1'::bit(4096) >> (interaction.person_id % 4096)::int)
    from ml.project
    join track.item on item.kind = substr(project.name, length('recommend.') + 1)
    join track.item_ancestor as ancestor on ancestor.ancestor_item_id = item.item_id
    join recommend.interaction on interaction.item_id = ancestor.item_id
    where starts_with(project.name, 'recommend.')
      and project.name <> 'recommend.course'
    group by ancestor.ancestor_item_id, interaction.person_id / 4096
  ),

  counted as (
    select segment.name, taken.item_id, sum(bit_count(taken.people & segment.people & everyone.people)) as people
    from track.person_set_block as segment
    join track.person_set_block as everyone on everyone.name = 'counted' and everyone.block = segment.block
    join taken on taken.block = segment.block
    where starts_with(segment.name, 'segment.')
    group by segment.name, taken.item_id
  )

  select
    item.kind,
    counted.name,
    counted.item_id,
    (counted.people / max(counted.people) over (partition by item.kind, counted.name))::float8
  from counted
  join track.item using (item_id)
  where counted.people >= v_smallest_group;
end;
$$;

comment on function recommend._segment_popularity() is $$
@behavior -*
Returns the popularity of items in each segment.
It is the number of counted people of the segment that used the item, as a share of the greatest one of its kind. Items
with fewer than `analytics.setting.smallest_group` of them are left out.
$$;

create or replace function recommend._trending(kind text)
returns table (item_id bigint, score float8)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_smallest_group constant int := (select smallest_group from analytics.setting);
begin
  return query
  select item.item_id, trending.score / max(trending.score) over ()
  from analytics.trending_items(_trending.kind, top => 1000) as trending
  join track.item on item.external_id = trending.item
  where exists (
    select
    from track.item_day
    where item_day.item_id = item.item_id
      and item_day.day > (now() at time zone 'UTC')::date - 7
      and item_day.person_count >= v_smallest_group
  );
end;
$$;

comment on function recommend._trending(text) is $$
@behavior -*
Returns the items of a kind that were used more than expected in the last seven days.
The score is a share of the greatest one of `analytics.trending_items`. Items without a day of
`analytics.setting.smallest_group` people are left out.
$$;

/* A definer: it reads the activity of all people, and is granted to workers. */
create or replace function recommend.refresh_lists()
returns bigint
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  -- As many items as a list can have; the newest follow.
  v_most constant int := 1000;
begin
  -- Two refreshes at once would wait for each other's rows.
  perform pg_advisory_xact_lock(hashtext('recommend.refresh_lists'));
  with known as (
    select distinct item.kind
    from track.item
    where item.kind not in ('merged', 'unknown')
  ),

  entry as (
    select known.kind, 'popular' as list, popular.item_id, popular.popularity as score
    from recommend._popularity() as popular
    join track.item using (item_id)
    join known on known.kind = item.kind

    union all

    select known.kind, 'trending', trending.item_id, trending.score
    from known
    cross join lateral recommend._trending(known.kind) as trending
    where known.kind = 'course'
      or exists (select from ml.project where project.name = 'recommend.' || known.kind)

    union all

    select segment.kind, segment.list, segment.item_id, segment.score
    from recommend._segment_popularity() as segment
  ),

  -- Of two significant digits: exact shares would show the use of one person by the difference of two answers.
  rounded as (
    select
      entry.kind, entry.list, entry.item_id,
      round(entry.score::numeric, 1 - floor(log(entry.score::numeric))::int)::float8 as score
    from entry
    where entry.score > 0
  ),

  fresh as materialized (
    select placed.kind, placed.list, placed.item_id, placed.score
    from (
      select
        rounded.*,
        row_number() over (partition by rounded.kind, rounded.list order by rounded.score desc, rounded.item_id)
          as place
      from rounded
      join track.item using (item_id)
      where item.available_until is null
        or item.available_until > now()
    ) as placed
    where placed.place <= v_most
  ),

  deleted as (
    delete from recommend.ranked_list
    where not exists (
      select
      from fresh
      where fresh.kind = ranked_list.kind
        and fresh.list = ranked_list.list
        and fresh.item_id = ranked_list.item_id
    )
  )

  insert into recommend.ranked_list (kind, list, item_id, score)
  select fresh.kind, fresh.list, fresh.item_id, fresh.score
  from fresh
  on conflict (kind, list, item_id) do update
  set score = excluded.score
  where ranked_list.score <> excluded.score;
  return (select count(*) from recommend.ranked_list);
end;
$$;

comment on function recommend.refresh_lists() is $$
Recomputes the lists that are the same for many people.
These are the popular and the trending items of each kind, and those that are popular in each segment. Returns the
number of their rows. Called after `analytics.refresh_views`; only rows that differ are written. A list has the 1,000
best items. Only people in the set `counted` count, and only items that `analytics.setting.smallest_group` of them used.
Scores are rounded to two significant digits.
$$;

grant execute on function recommend.refresh_lists() to insights_worker;
