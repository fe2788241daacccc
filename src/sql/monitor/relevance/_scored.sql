create or replace function monitor._scored(
  since timestamptz,
  until timestamptz,
  kind text,
  model_id bigint,
  smallest_group int,
  most int
)
returns setof monitor.scored
language plpgsql
stable
parallel safe
-- The estimate of the planner, for the joins of reports.
rows 1000000
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  return query
  with counted as materialized (
    select stored.block, stored.people
    from track.person_set_blocks('counted') as stored
    where _scored.smallest_group is not null
  ),

  listed as (
    select
      impression.model_id, impression.basis,
      case when _scored.smallest_group is not null then date_trunc('week', impression.listed_at) end as week,
      impression.person_id, impression.rank, impression.score, impression.clicked_at is not null as is_clicked
    from recommend.impression
    join track.item as named on named.item_id = impression.item_id
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    left join counted on counted.block = impression.person_id / 4096
    where impression.listed_at >= _scored.since
      and impression.listed_at < _scored.until
      and impression.is_served
      and impression.score > '-infinity'
      and impression.score < 'infinity'
      and item.kind = _scored.kind
      and (impression.model_id = _scored.model_id or _scored.model_id is null)
      and (_scored.smallest_group is null or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0)
    limit _scored.most
  ),

  -- For analysts, a week in which a version has few people is left out.
  kept as (
    select listed.model_id, listed.basis, listed.week
    from listed
    where _scored.smallest_group is not null
    group by listed.model_id, listed.basis, listed.week
    having count(distinct listed.person_id) >= _scored.smallest_group
  )

  select listed.*
  from listed
  where _scored.smallest_group is null

  union all

  select listed.*
  from listed
  join kept
    on kept.model_id is not distinct from listed.model_id
    and kept.basis = listed.basis
    and kept.week = listed.week;
end;
$$;

comment on function monitor._scored(timestamptz, timestamptz, text, bigint, int, int) is $$
@behavior -*
Returns the rows of recorded lists of a kind that have a score, of one version or of all, `most` rows at most.
$$;

grant execute on function monitor._scored(timestamptz, timestamptz, text, bigint, int, int)
to insights_reader, insights_worker;
