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
set timezone to 'UTC'
as $$
begin
  return query
  with listed as (
    select
      impression.rank,
      (impression.person_id % 64)::int as bucket,
      impression.clicked_at,
      case when _position_cells.smallest_group is not null then date_trunc('week', impression.listed_at) end as week,
      hash_record_extended(row(item.item_id, impression.model_id, impression.basis), 0) as alike
    from recommend.impression
    join track.item as named on named.item_id = impression.item_id
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    left join track.person_set_blocks('counted') as counted
      on _position_cells.smallest_group is not null
      and counted.block = impression.person_id / 4096
    where impression.listed_at >= _position_cells.since
      and impression.listed_at < _position_cells.until
      and impression.is_served
      and impression.rank between 1 and 20
      and item.kind = _position_cells.kind
      and (
        _position_cells.smallest_group is null
        or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
      )
  ),

  cell as (
    select
      listed.alike, listed.rank, listed.bucket, listed.week, count(*) as listed_count,
      count(listed.clicked_at) as clicked_count
    from listed
    group by listed.alike, listed.rank, listed.bucket, listed.week
  ),

  -- For analysts, a week in which few people were served a rank is left out. Buckets are at most as many as people.
  kept as (
    select present.rank, present.week
    from (select distinct cell.rank, cell.week, cell.bucket from cell) as present
    group by present.rank, present.week
    having count(*) >= coalesce(_position_cells.smallest_group, 1)
  )

  select
    cell.alike, cell.rank, cell.bucket, sum(cell.listed_count)::float8, sum(cell.clicked_count)::float8
  from cell
  join kept
    on kept.rank = cell.rank
    and kept.week is not distinct from cell.week
  group by cell.alike, cell.rank, cell.bucket;
end;
$$;

comment on function monitor._position_cells(timestamptz, timestamptz, text, int) is $$
@behavior -*
Counts rows of recorded lists and clicks by rank, by what decides their relevance, and by bucket of people.
Of the first 20 ranks. Rows are alike when item, version and basis are the same. `smallest_group`: of counted people
only, without the weeks in which a rank was served to few; null: all.
$$;

grant execute on function monitor._position_cells(timestamptz, timestamptz, text, int) to insights_reader;
