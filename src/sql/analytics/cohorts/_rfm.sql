/*
 * Numbers of days as bit slices (`analytics._bit_counts`). The position of the last active day of a person is the
 * number of days on which, or after which, she is active.
 */
create or replace function analytics._rfm(
  since timestamptz, until timestamptz, among text, smallest_group int
)
returns setof analytics.person_rfm
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

  active as materialized (
    select
      counted.block::bigint * 4096 + place as person_id,
      analytics._bit_number(counted.active, place) as active_days,
      analytics._bit_number(counted.last, place) as last_day
    from counted
    cross join generate_series(0, 4095) as place
    where get_bit(counted.people, place) = 1
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
      active.person_id,
      v_days - active.last_day as recency_days,
      active.active_days,
      coalesce(used.engaged, '0') as engaged,
      (5 * (rank() over (order by active.last_day) - 1) / count(*) over ())::int + 1 as recency_score,
      (5 * (rank() over (order by active.active_days) - 1) / count(*) over ())::int + 1 as frequency_score,
      (5 * (rank() over (order by coalesce(used.engaged, '0')) - 1) / count(*) over ())::int + 1 as engaged_score
    from active
    left join used on used.person_id = active.person_id
  )

  select
    ranked.person_id, null::text, ranked.recency_days, ranked.active_days, ranked.engaged,
    ranked.recency_score, ranked.frequency_score, ranked.engaged_score,
    analytics._rfm_cell(ranked.recency_score, (ranked.frequency_score + ranked.engaged_score + 1) / 2)
  from ranked;
end;
$$;

comment on function analytics._rfm(timestamptz, timestamptz, text, int) is $$
Returns the people who are active in a period with recency, frequency and engaged time: see `analytics.rfm`.
Without their names. `smallest_group`: counted people, and sets as analysts see them; null: all who are not excluded.
$$;

grant execute on function analytics._rfm(timestamptz, timestamptz, text, int) to insights_reader;
