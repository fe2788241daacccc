create or replace function monitor._position_cells(
  since timestamptz,
  until timestamptz,
  kind text,
  smallest_group int
)
returns setof monitor.position_cell
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- Results of functions have no statistics. Callers that exclude nested loops have plans of their own.
set enable_mergejoin to off
set enable_nestloop to on
set work_mem to '64MB'
set jit to off
-- Without a floor, the parts for it are not in the plan.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with item as materialized (
    select named.item_id, item.item_id as merged_item_id
    from track.item as named
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    where item.kind = _position_cells.kind
  ),

  listed as not materialized (
    select
      impression.rank,
      (impression.person_id % 64)::int as bucket,
      impression.clicked_at,
      date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z') as week,
      hashtextextended(
        impression.basis, hashint8extended(coalesce(impression.model_id, 0), hashint8extended(item.merged_item_id, 0))
      ) as alike
    from recommend.impression
    join item using (item_id)
    -- One row per block: without a condition on it, the join is not in the plan.
    left join (
      select distinct on (stored.block) stored.block, stored.people
      from track.person_set_blocks('counted') as stored
    ) as counted
      on counted.block = impression.person_id / 4096
    where impression.listed_at >= _position_cells.since
      and impression.listed_at < _position_cells.until
      and impression.is_served
      and impression.rank between 1 and 20
      and (
        _position_cells.smallest_group is null
        or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
      )
  ),

  -- For analysts, a week in which few people were served a rank is left out. Buckets are at most as many as people.
  kept as (
    select present.rank, present.week
    from (select listed.rank, listed.week from listed group by listed.rank, listed.week, listed.bucket) as present
    group by present.rank, present.week
    having count(*) >= _position_cells.smallest_group
  )

  select
    listed.alike, listed.rank, listed.bucket, count(*)::float8, count(listed.clicked_at)::float8
  from listed
  where _position_cells.smallest_group is null
    or (listed.rank, listed.week) in (select kept.rank, kept.week from kept)
  group by listed.alike, listed.rank, listed.bucket;
end;
$$;

comment on function monitor._position_cells(timestamptz, timestamptz, text, int) is $$
@behavior -*
Counts rows of recorded lists and clicks by rank, by what decides their relevance, and by bucket of people.
Of the first 20 ranks. Rows are alike when item, version and basis are the same. `smallest_group`: of counted people
only, without the weeks in which a rank was served to few; null: all.
$$;

grant execute on function monitor._position_cells(timestamptz, timestamptz, text, int) to insights_reader;
