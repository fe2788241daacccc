/*
 * Numbers of days as bit slices (`analytics._bit_counts`). The position of the last active day of a person is the
 * number of days on which, or after which, she is active.
 */
create or replace function analytics._rfm(
  since timestamptz, until timestamptz, among text, breakdown text, top_values int, smallest_group int
)
returns table (
  value text,
  is_other boolean,
  person_id bigint,
  recency_days int,
  active_days int,
  engaged interval,
  recency_score int,
  frequency_score int,
  engaged_score int,
  cell text
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_bounds timestamptz[];
  v_since timestamptz;
  v_until timestamptz;
  v_days int;
begin
  v_bounds := analytics._bounds('day', _rfm.since, _rfm.until, 'UTC');
  v_days := cardinality(v_bounds) - 1;
  if v_days > 1100 then
    perform common.refuse('CF008', format('the period has %s days', v_days), 'It can have 1,100 days at most.');
  end if;
  v_since := v_bounds[1];
  v_until := v_bounds[v_days + 1];

  return query
  with among as materialized (
    select members.block, members.people
    from analytics._among(_rfm.among, _rfm.smallest_group) as members
  ),

  present as materialized (
    select present.bucket, present.block, present.people & among.people as people
    from analytics._presence(0, v_bounds) as present
    join among on among.block = present.block
  ),

  counted as materialized (
    select
      day.block,
      bit_or(day.people) as people,
      analytics._bit_counts(day.people) as active,
      analytics._bit_counts(day.until_last) as last
    from (
      select
        grid.block, grid.bucket, coalesce(present.people, v_no_people) as people,
        bit_or(coalesce(present.people, v_no_people)) over (partition by grid.block order by grid.bucket desc)
          as until_last
      from (
        select distinct_block.block, bucket
        from (select distinct present.block from present) as distinct_block
        cross join generate_series(1, v_days) as bucket
      ) as grid
      left join present on present.block = grid.block and present.bucket = grid.bucket
    ) as day
    group by day.block
  ),

  -- The values of the people who are active in the period.
  part as materialized (
    select part.value, part.is_other, entry.block, entry.people
    from (
      select array_agg(counted.block) as blocks, array_agg(counted.people) as people from counted
    ) as listed
    cross join lateral analytics._people_groups(
      _rfm.breakdown, _rfm.top_values, _rfm.smallest_group, listed.blocks, listed.people
    ) as part
    cross join lateral unnest(part.blocks, part.people) as entry (block, people)
  ),

  active as materialized (
    select
      part.value, part.is_other, part.block::bigint * 4096 + place as person_id,
      analytics._bit_number(counted.active, place) as active_days,
      analytics._bit_number(counted.last, place) as last_day
    from part
    join counted on counted.block = part.block
    cross join generate_series(0, 4095) as place
    where get_bit(part.people, place) = 1
  ),

  used as (
    select session.person_id, sum(session.engaged) as engaged
    from track.session
    where session.started_at >= v_since
      and session.started_at < v_until
    group by session.person_id
  ),

  ranked as (
    select
      active.value, active.is_other, active.person_id,
      v_days - active.last_day as recency_days,
      active.active_days,
      coalesce(used.engaged, '0') as engaged,
      (5 * (rank() over by_last_day - 1) / count(*) over of_value)::int + 1 as recency_score,
      (5 * (rank() over by_active_days - 1) / count(*) over of_value)::int + 1 as frequency_score,
      (5 * (rank() over by_engaged - 1) / count(*) over of_value)::int + 1 as engaged_score
    from active
    left join used on used.person_id = active.person_id
    window
      of_value as (partition by active.is_other, active.value),
      by_last_day as (of_value order by active.last_day),
      by_active_days as (of_value order by active.active_days),
      by_engaged as (of_value order by coalesce(used.engaged, '0'))
  )

  select
    ranked.value, ranked.is_other, ranked.person_id, ranked.recency_days, ranked.active_days, ranked.engaged,
    ranked.recency_score, ranked.frequency_score, ranked.engaged_score,
    analytics._rfm_cell(ranked.recency_score, (ranked.frequency_score + ranked.engaged_score + 1) / 2)
  from ranked;
end;
$$;

comment on function analytics._rfm(timestamptz, timestamptz, text, text, int, int) is $$
Returns the people who are active in a period with recency, frequency and engaged time: see `analytics.rfm`.
Scores are those among the people of the value of `breakdown` (`analytics._people_groups`). `smallest_group`: counted
people, and sets as analysts see them; null: all who are not excluded.
$$;

grant execute on function analytics._rfm(timestamptz, timestamptz, text, text, int, int) to insights_reader;
