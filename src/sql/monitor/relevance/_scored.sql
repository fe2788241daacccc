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
set jit to off
-- Results of functions have no statistics. Callers that exclude nested loops have plans of their own.
set enable_mergejoin to off
set enable_nestloop to on
set work_mem to '64MB'
-- Without a floor, the parts for it are not in the plan.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with item as materialized (
    select named.item_id
    from track.item as named
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    where item.kind = _scored.kind
  ),

  listed as not materialized (
    select
      impression.model_id, impression.basis,
      case
        when _scored.smallest_group is not null then date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z')
      end as week,
      impression.person_id, impression.rank, impression.score, impression.clicked_at is not null as is_clicked
    from recommend.impression
    join item using (item_id)
    left join track.person_set_blocks('counted') as counted
      on _scored.smallest_group is not null
      and counted.block = impression.person_id / 4096
    where impression.listed_at >= _scored.since
      and impression.listed_at < _scored.until
      and impression.is_served
      and impression.score > '-infinity'
      and impression.score < 'infinity'
      and (impression.model_id = _scored.model_id or _scored.model_id is null)
      and (_scored.smallest_group is null or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0)
  ),

  -- For analysts, a week in which a version has few people is left out.
  kept as (
    select person.version, person.basis, person.week
    from (
      select coalesce(listed.model_id, 0) as version, listed.basis, listed.week, listed.person_id
      from listed
      group by coalesce(listed.model_id, 0), listed.basis, listed.week, listed.person_id
    ) as person
    group by person.version, person.basis, person.week
    having count(*) >= _scored.smallest_group
  )

  select listed.*
  from listed
  where _scored.smallest_group is null
    or (coalesce(listed.model_id, 0), listed.basis, listed.week) in (select * from kept)
  limit _scored.most;
end;
$$;

comment on function monitor._scored(timestamptz, timestamptz, text, bigint, int, int) is $$
@behavior -*
Returns the rows of recorded lists of a kind that have a score, of one version or of all, `most` rows at most.
$$;

grant execute on function monitor._scored(timestamptz, timestamptz, text, bigint, int, int)
to insights_reader, insights_worker;
