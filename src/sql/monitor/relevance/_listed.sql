create or replace function monitor._listed(
  since timestamptz,
  until timestamptz,
  by text,
  kind text,
  by_week boolean,
  smallest_group int
)
returns setof monitor.listed
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  return query
  with deployed as (
    select
      deployment.deployment_id, deployment.deployed_at as since,
      lead(deployment.deployed_at, 1, 'infinity') over (order by deployment.deployment_id) as until
    from ml.deployment
    join ml.project using (project_id)
    where _listed.by = 'deployment'
      and project.name = 'recommend.' || _listed.kind
  ),

  segment as materialized (
    select person_set.name, stored.block, stored.people
    from track.person_set
    cross join lateral track.person_set_blocks(person_set.name) as stored
    where _listed.by = 'segment'
      and person_set.name like 'segment.%'
  ),

  counted as materialized (
    select stored.block, stored.people
    from track.person_set_blocks('counted') as stored
    where _listed.smallest_group is not null
  )

  select
    case _listed.by
      when 'model' then model.version::text
      when 'basis' then impression.basis
      when 'rank' then impression.rank::text
      when 'segment' then segment.name
      when 'deployment' then deployed.deployment_id::text
    end,
    case
      when _listed.by_week then date_trunc('week', impression.listed_at)
      when _listed.by = 'deployment' then deployed.since
    end,
    case when _listed.smallest_group is not null then date_trunc('week', impression.listed_at) end,
    impression.person_id, item.item_id, impression.rank, impression.listed_at,
    impression.seen_at is not null,
    impression.clicked_at is not null,
    impression.completed_at is not null,
    impression.dismissed_at is not null,
    impression.liking
  from recommend.impression
  join track.item as named on named.item_id = impression.item_id
  join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
  left join ml.model on model.model_id = impression.model_id
  left join deployed
    on impression.listed_at >= deployed.since
    and impression.listed_at < deployed.until
  left join segment
    on segment.block = impression.person_id / 4096
    and get_bit(segment.people, (impression.person_id % 4096)::int) = 1
  left join counted on counted.block = impression.person_id / 4096
  where impression.listed_at >= _listed.since
    and impression.listed_at < _listed.until
    and impression.is_served
    and item.kind = _listed.kind
    and (_listed.by <> 'segment' or segment.name is not null)
    and (_listed.smallest_group is null or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0);
end;
$$;

comment on function monitor._listed(timestamptz, timestamptz, text, text, boolean, int) is $$
@behavior -*
Returns the rows of recorded lists of a kind with their group: one per segment of the person with `by` segment.
$$;

grant execute on function monitor._listed(timestamptz, timestamptz, text, text, boolean, int) to insights_reader;
