create or replace function monitor._probe_recommendations()
returns setof monitor.measurement
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_most constant int := 100000;
  v_smallest_group constant int := (select smallest_group from analytics.setting);
  v_version record;
begin
  return query
  with listed as materialized (
    select
      impression.person_id, impression.item_id, impression.clicked_at is not null as is_clicked,
      impression.completed_at is not null as is_completed, impression.dismissed_at is not null as is_dismissed
    from recommend.impression
    -- Lists that people had a day to answer. The first rows of the week, where there are more than fit.
    where impression.listed_at >= now() - interval '8 days'
      and impression.listed_at < now() - interval '1 day'
      and impression.is_served
    limit v_most
  ),

  cell as materialized (
    select
      item.kind, item.item_id, listed.person_id, count(*)::float8 as served,
      count(*) filter (where listed.is_clicked)::float8 as clicked,
      count(*) filter (where listed.is_completed)::float8 as completed,
      count(*) filter (where listed.is_dismissed)::float8 as dismissed
    from listed
    join track.item as named on named.item_id = listed.item_id
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    group by item.kind, item.item_id, listed.person_id
  ),

  total as (
    select
      cell.kind, count(distinct cell.person_id) as people, sum(cell.served) as served, sum(cell.clicked) as clicked,
      sum(cell.completed) as completed, sum(cell.dismissed) as dismissed
    from cell
    group by cell.kind
  ),

  spread as (
    select
      ordered.kind, count(*) as items, sum(ordered.served) as served, sum(ordered.place * ordered.served) as placed
    from (
      select served.*, row_number() over (partition by served.kind order by served.served desc) as place
      from (
        select cell.kind, cell.item_id, sum(cell.served) as served
        from cell
        group by cell.kind, cell.item_id
      ) as served
    ) as ordered
    group by ordered.kind
  ),

  available as (
    select item.kind, count(*) as items
    from track.item
    where item.merged_item_id is null
      and coalesce(item.available_from < now(), true)
      and coalesce(item.available_until > now() - interval '8 days', true)
    group by item.kind
  )

  select measured.metric, jsonb_build_object('project', project.name), measured.value
  from total
  join spread using (kind)
  left join available using (kind)
  join ml.project on project.name = 'recommend.' || total.kind
  cross join lateral (
    select greatest(coalesce(available.items, 0), spread.items)::float8 as items
  ) as catalogue
  cross join lateral (
    values
      ('insights_recommendation_rows', total.served),
      ('insights_recommendation_click_ratio', total.clicked / total.served),
      ('insights_recommendation_completion_ratio', total.completed / total.served),
      ('insights_recommendation_dismissal_ratio', total.dismissed / total.served),
      ('insights_recommendation_coverage_ratio', spread.items / catalogue.items),
      (
        'insights_recommendation_gini_ratio',
        1 + 1 / catalogue.items - 2 * spread.placed / (catalogue.items * spread.served)
      )
  ) as measured (metric, value)
  -- Figures of so few people would be about persons.
  where total.people >= v_smallest_group;

  for v_version in
    select project.name, latest.model_id, min(deployment.deployed_at) as since
    from ml.project
    cross join lateral (
      select deployment.model_id
      from ml.deployment
      where deployment.project_id = project.project_id
      order by deployment.deployment_id desc
      limit 1
    ) as latest
    join ml.deployment on deployment.model_id = latest.model_id
    where starts_with(project.name, 'recommend.')
    group by project.name, latest.model_id
    order by project.name
  loop
    return query
    select
      'insights_recommendation_score_drift', jsonb_build_object('project', v_version.name), shift.stability_index
    from monitor._score_shift(
      v_version.model_id, substr(v_version.name, length('recommend.') + 1),
      tstzrange(v_version.since, v_version.since + interval '7 days'), tstzrange(now() - interval '7 days', now()),
      null, v_most / 2
    ) as shift
    where shift.basis = 'model'
      and shift.verdict <> 'unknown'
      and least(shift.person_count, shift.reference_people) >= v_smallest_group;
  end loop;
end;
$$;

comment on function monitor._probe_recommendations() is $$
Measures how the recommendations of a week were received, their coverage, and the drift of the scores.
Of lists that are one to eight days old, in at most 100,000 rows.
$$;
