create or replace function monitor._listed_sums(
  since timestamptz,
  until timestamptz,
  by text,
  kind text,
  by_week boolean,
  smallest_group int
)
returns setof monitor.listed_sum
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- Results of functions have no statistics. Callers that exclude nested loops have plans of their own.
set enable_mergejoin to off
set enable_nestloop to on
set work_mem to '64MB'
set jit to off
-- Parts that the grouping and the caller do not need are not in the plan.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_deployments int[];
  v_deployed timestamptz[];
begin
  select
    coalesce(array_agg(deployment.deployment_id order by deployment.deployed_at, deployment.deployment_id), '{}'),
    coalesce(array_agg(deployment.deployed_at order by deployment.deployed_at, deployment.deployment_id), '{}')
  into v_deployments, v_deployed
  from ml.deployment
  join ml.project using (project_id)
  where _listed_sums.by = 'deployment'
    and project.name = 'recommend.' || _listed_sums.kind;

  return query
  with segment as materialized (
    select person_set.name, stored.block, stored.people
    from track.person_set
    cross join lateral track.person_set_blocks(person_set.name) as stored
    where _listed_sums.by = 'segment'
      and person_set.name like 'segment.%'
      and person_set.name not in (select incomplete.name from track.incomplete_sets() as incomplete (name))
  ),

  known as materialized (
    select named.item_id, item.item_id as merged_item_id
    from track.item as named
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    where item.kind = _listed_sums.kind
  ),

  -- The group of each row, without nulls: rows are joined and grouped by it.
  listed as not materialized (
    select
      case _listed_sums.by
        when 'model' then coalesce(model.version, 0)
        when 'rank' then impression.rank
        when 'deployment' then width_bucket(impression.listed_at, v_deployed)
        else 0
      end as number,
      case _listed_sums.by when 'basis' then impression.basis when 'segment' then segment.name else '' end as label,
      case
        when _listed_sums.by_week then date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z')
        else '-infinity'
      end as starts_at,
      case
        when _listed_sums.smallest_group is null then '-infinity'
        else date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z')
      end as week,
      known.merged_item_id as item_id, impression.person_id, impression.rank, impression.listed_at, impression.seen_at,
      impression.clicked_at, impression.completed_at, impression.dismissed_at, impression.liking,
      impression.serving_key
    from recommend.impression
    join known on known.item_id = impression.item_id
    left join ml.model on model.model_id = impression.model_id
    left join segment
      on segment.block = impression.person_id / 4096
      and get_bit(segment.people, (impression.person_id % 4096)::int) = 1
    -- One row per block: without a condition on it, the join is not in the plan.
    left join (
      select distinct on (stored.block) stored.block, stored.people
      from track.person_set_blocks('counted') as stored
    ) as counted
      on counted.block = impression.person_id / 4096
    where impression.listed_at >= _listed_sums.since
      and impression.listed_at < _listed_sums.until
      and impression.is_served
      and (_listed_sums.by <> 'segment' or segment.name is not null)
      and (
        _listed_sums.smallest_group is null
        or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
      )
  ),

  list as (
    select
      listed.number, listed.label, listed.starts_at, listed.week, listed.person_id,
      1 as lists,
      count(*)::float8 as served,
      count(listed.seen_at)::float8 as seen,
      count(listed.clicked_at)::float8 as clicked,
      count(listed.completed_at)::float8 as completed,
      count(listed.dismissed_at)::float8 as dismissed,
      count(*) filter (where listed.liking > 0)::float8 as liked,
      count(*) filter (where listed.liking < 0)::float8 as disliked,
      0 as viewed,
      null::float8 as seconds
    from listed
    group by listed.number, listed.label, listed.starts_at, listed.week, listed.person_id, listed.listed_at

    union all

    select
      listed.number, listed.label, listed.starts_at, listed.week, listed.person_id, 0, 0, 0, 0, 0, 0, 0, 0, 1,
      dwell.seconds
    from listed
    join monitor._dwell(_listed_sums.since, _listed_sums.until, _listed_sums.kind) as dwell
      on dwell.person_id = listed.person_id
      and dwell.serving_key = listed.serving_key
    where listed.clicked_at is not null
  ),

  person as materialized (
    select
      list.number, list.label, list.starts_at, list.week, list.person_id, sum(list.lists)::float8 as lists,
      sum(list.served) as served, sum(list.seen) as seen, sum(list.clicked) as clicked,
      sum(list.completed) as completed, sum(list.dismissed) as dismissed, sum(list.liked) as liked,
      sum(list.disliked) as disliked, sum(list.viewed)::float8 as viewed, sum(list.seconds) as seconds
    from list
    group by list.number, list.label, list.starts_at, list.week, list.person_id
  ),

  -- For analysts, a week in which a group has few people is left out.
  kept as materialized (
    select person.number, person.label, person.starts_at, person.week
    from person
    group by person.number, person.label, person.starts_at, person.week
    having count(*) >= _listed_sums.smallest_group
  ),

  told as not materialized (
    select listed.*
    from listed
    where _listed_sums.smallest_group is null
      or (listed.number, listed.label, listed.starts_at, listed.week) in (select * from kept)
  ),

  -- By item, and by rank and bucket of people, in one pass over the rows.
  shared as materialized (
    select
      told.number, told.label, told.starts_at, told.item_id, told.rank, (told.person_id % 64)::int as bucket,
      count(*)::float8 as served, count(told.clicked_at)::float8 as clicked,
      bit_or(1::bigint << (told.person_id % 64)::int) as buckets
    from told
    group by grouping sets (
      (told.number, told.label, told.starts_at, told.item_id),
      (told.number, told.label, told.starts_at, told.rank, (told.person_id % 64)::int)
    )
  ),

  item as not materialized (
    select
      shared.number, shared.label, shared.starts_at, shared.item_id, shared.served,
      -- At most as many as people.
      bit_count(shared.buckets::bit(64)) as buckets
    from shared
    where shared.item_id is not null
  ),

  -- For analysts, items that few people were served do not count.
  rare as (
    select person_item.number, person_item.label, person_item.starts_at, person_item.item_id
    from (
      select distinct told.number, told.label, told.starts_at, told.item_id, told.person_id
      from told
      where (told.number, told.label, told.starts_at, told.item_id) in (
        select item.number, item.label, item.starts_at, item.item_id
        from item
        where item.buckets < _listed_sums.smallest_group
      )
    ) as person_item
    group by person_item.number, person_item.label, person_item.starts_at, person_item.item_id
    having count(*) < _listed_sums.smallest_group
  ),

  summed as (
    select
      person.number, person.label, person.starts_at, person.person_id, null::int as rank, null::int as bucket,
      null::bigint as item_id, sum(person.lists) as lists, sum(person.served) as served, sum(person.seen) as seen,
      sum(person.clicked) as clicked, sum(person.completed) as completed, sum(person.dismissed) as dismissed,
      sum(person.liked) as liked, sum(person.disliked) as disliked, sum(person.viewed) as viewed,
      sum(person.seconds) as seconds
    from person
    where _listed_sums.smallest_group is null
      or (person.number, person.label, person.starts_at, person.week) in (select * from kept)
    group by person.number, person.label, person.starts_at, person.person_id

    union all

    select
      shared.number, shared.label, shared.starts_at, null, shared.rank, shared.bucket, null, null, shared.served, null,
      shared.clicked, null, null, null, null, null, null
    from shared
    where shared.item_id is null
      and shared.rank between 1 and 20

    union all

    select
      item.number, item.label, item.starts_at, null, null, null, item.item_id, null, item.served, null, null, null,
      null, null, null, null, null
    from item
    where _listed_sums.smallest_group is null
      or (item.number, item.label, item.starts_at, item.item_id) not in (select * from rare)
  )

  select
    case
      when _listed_sums.by in ('basis', 'segment') then summed.label
      when _listed_sums.by = 'deployment' then v_deployments[summed.number]::text
      when _listed_sums.by <> 'all' then nullif(summed.number, 0)::text
    end,
    case
      when _listed_sums.by_week then summed.starts_at
      when _listed_sums.by = 'deployment' then v_deployed[summed.number]
    end,
    summed.person_id, summed.rank, summed.bucket, summed.item_id, summed.lists, summed.served, summed.seen,
    summed.clicked, summed.completed, summed.dismissed, summed.liked, summed.disliked, summed.viewed, summed.seconds
  from summed;
end;
$$;

comment on function monitor._listed_sums(timestamptz, timestamptz, text, text, boolean, int) is $$
@behavior -*
Counts the rows of recorded lists of a kind: by group and person, by group, rank and bucket of people, and by item.
The group is that of `monitor.relevance`: one per segment of the person with `by` segment,
without those of which retention has deleted people. Of the first 20 ranks.
`smallest_group`: of counted people, without weeks of a group and without items of a group that have fewer; null: all.
$$;

grant execute on function monitor._listed_sums(timestamptz, timestamptz, text, text, boolean, int) to insights_reader;
