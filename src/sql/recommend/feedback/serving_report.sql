/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
create or replace function recommend._serving_report(
  since timestamptz,
  until timestamptz,
  by text,
  kind text,
  smallest_group int
)
returns setof recommend.serving_figures
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
set timezone to 'UTC'
as $$
declare
  v_z constant float8 := ml.normal_quantile(0.975);
  v_since timestamptz := _serving_report.since;
  v_until timestamptz := _serving_report.until;
begin
  perform common.check_period(_serving_report.since, _serving_report.until);
  if _serving_report.by is null or _serving_report.by not in (
    'model', 'basis', 'rank', 'slot', 'variation', 'function'
  ) then
    perform common.refuse('CF001', format('by is %s', coalesce('"' || left(_serving_report.by, 100) || '"', 'null')),
      'Use model (version), basis, rank, slot (explored or ranked), variation (of an experiment) or function.');
  end if;
  perform recommend._check(1, _serving_report.kind);
  -- Whole weeks, so that two periods differ by a week at least.
  if _serving_report.smallest_group is not null then
    v_since := date_trunc('week', greatest(v_since, '2000-01-03'));
    v_until := date_trunc('week', least(v_until, now()) - interval '1 microsecond') + interval '7 days';
  end if;

  return query
  with listed as (
    select
      impression.*,
      case _serving_report.by
        when 'model' then model.version::text
        when 'basis' then impression.basis
        when 'rank' then impression.rank::text
        when 'variation' then experiment.experiment_key || '.' || variation.variation_key
        when 'function' then impression.function_name
        else case when impression.propensity is null then 'ranked' else 'explored' end
      end as name,
      case when _serving_report.smallest_group is not null then date_trunc('week', impression.listed_at) end as week
    from recommend.impression
    join track.item as named on named.item_id = impression.item_id
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    left join ml.model on model.model_id = impression.model_id
    left join experiment.experiment on experiment.experiment_id = impression.experiment_id
    left join experiment.variation
      on variation.experiment_id = impression.experiment_id
      and variation.variation = impression.variation
    left join track.person_set_blocks('counted') as counted on counted.block = impression.person_id / 4096
    where impression.listed_at >= v_since
      and impression.listed_at < v_until
      and item.kind = _serving_report.kind
      -- For analysts, only people whom no client can invent.
      and (
        _serving_report.smallest_group is null
        or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
      )
  ),

  -- Of a group, a week of few people is left out. For admins there is one group of all weeks.
  kept as (
    select cell.name, cell.week
    from (
      select listed.name, listed.week, count(distinct listed.person_id) as people
      from listed
      group by listed.name, listed.week
    ) as cell
    where cell.people >= coalesce(_serving_report.smallest_group, 1)
  ),

  counted as (
    select
      listed.name,
      count(distinct listed.person_id) as people,
      count(*) filter (where listed.is_served) as served,
      count(distinct listed.person_id) filter (where listed.is_served) as served_people,
      count(listed.seen_at) as seen,
      count(distinct listed.person_id) filter (where listed.seen_at is not null) as seen_people,
      count(listed.clicked_at) as clicked,
      count(distinct listed.person_id) filter (where listed.clicked_at is not null) as clicked_people,
      count(listed.dismissed_at) as dismissed,
      count(distinct listed.person_id) filter (where listed.dismissed_at is not null) as dismissed_people,
      count(*) filter (where listed.liking > 0) as liked,
      count(distinct listed.person_id) filter (where listed.liking > 0) as liked_people,
      count(*) filter (where listed.liking < 0) as disliked,
      count(distinct listed.person_id) filter (where listed.liking < 0) as disliked_people,
      count(listed.completed_at) filter (where listed.seen_at is not null) as completed,
      count(distinct listed.person_id) filter (where listed.seen_at is not null and listed.completed_at is not null)
        as completed_people
    from listed
    join kept
      on kept.name is not distinct from listed.name
      and kept.week is not distinct from listed.week
    group by listed.name
  ),

  shown as (
    select
      counted.name,
      figure.people,
      figure.served,
      figure.seen,
      least(figure.clicked, figure.seen) as clicked,
      least(figure.dismissed, figure.seen) as dismissed,
      figure.liked,
      figure.disliked,
      least(figure.completed, figure.seen) as completed
    from counted
    cross join lateral (
      select
        analytics.shown(counted.people, counted.people, _serving_report.smallest_group)::bigint as people,
        analytics.shown(counted.served, counted.served_people, _serving_report.smallest_group)::bigint as served,
        analytics.shown(counted.seen, counted.seen_people, _serving_report.smallest_group)::bigint as seen,
        analytics.shown(counted.clicked, counted.clicked_people, _serving_report.smallest_group)::bigint as clicked,
        analytics.shown(counted.dismissed, counted.dismissed_people, _serving_report.smallest_group)::bigint
          as dismissed,
        analytics.shown(counted.liked, counted.liked_people, _serving_report.smallest_group)::bigint as liked,
        analytics.shown(counted.disliked, counted.disliked_people, _serving_report.smallest_group)::bigint
          as disliked,
        analytics.shown(counted.completed, counted.completed_people, _serving_report.smallest_group)::bigint
          as completed
    ) as figure
  )

  -- Rates are computed from the numbers as shown.
  select
    shown.name, shown.people, shown.served, shown.seen, shown.clicked, shown.dismissed, shown.liked, shown.disliked,
    shown.completed,
    shown.clicked::float8 / nullif(shown.seen, 0),
    (analytics.wilson_bounds(shown.clicked, shown.seen, v_z))[1],
    (analytics.wilson_bounds(shown.clicked, shown.seen, v_z))[2],
    shown.dismissed::float8 / nullif(shown.seen, 0),
    (analytics.wilson_bounds(shown.dismissed, shown.seen, v_z))[1],
    (analytics.wilson_bounds(shown.dismissed, shown.seen, v_z))[2],
    shown.completed::float8 / nullif(shown.seen, 0),
    (analytics.wilson_bounds(shown.completed, shown.seen, v_z))[1],
    (analytics.wilson_bounds(shown.completed, shown.seen, v_z))[2]
  from shown
  order by
    case when _serving_report.by in ('model', 'rank') then shown.name::int end nulls last,
    shown.name;
end;
$$;

alter function recommend._serving_report(timestamptz, timestamptz, text, text, int)
owner to insights_reader;

comment on function recommend._serving_report(timestamptz, timestamptz, text, text, int) is $$
@behavior -*
Computes the result of `recommend.serving_report`.
`smallest_group`: figures of groups of counted people (see `analytics.shown`); null: exact figures of all people.
$$;

grant execute on function recommend._serving_report(timestamptz, timestamptz, text, text, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the impressions of people, and returns figures about groups only. */
create or replace function recommend._serving_report_shown(
  since timestamptz, until timestamptz, by text, kind text
)
returns setof recommend.serving_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select *
  from recommend._serving_report($1, $2, $3, $4, (select smallest_group from analytics.setting));
$$;

alter function recommend._serving_report_shown(timestamptz, timestamptz, text, text) owner to insights_reader;

comment on function recommend._serving_report_shown(timestamptz, timestamptz, text, text) is $$
@behavior -*
Returns the result of `recommend.serving_report` for analysts: figures of groups, rounded.
$$;

grant execute on function recommend._serving_report_shown(timestamptz, timestamptz, text, text) to insights_analyst;

create or replace function recommend.serving_report(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  by text default 'model',
  kind text default 'course'
)
returns setof recommend.serving_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('recommend._serving_report(timestamptz, timestamptz, text, text, int)', 'execute') then
    return query
    select *
    from recommend._serving_report(
      serving_report.since, serving_report.until, serving_report.by, serving_report.kind, null
    );
  else
    return query
    select *
    from recommend._serving_report_shown(
      serving_report.since, serving_report.until, serving_report.by, serving_report.kind
    );
  end if;
end;
$$;

comment on function recommend.serving_report(timestamptz, timestamptz, text, text) is $$
Returns how recommended items of a kind were received: served, seen, clicked, dismissed, liked, completed.
The lists are those that were made in the period. `by`: `model` (version), `basis`, `rank`, `slot` (`explored` or
`ranked`), `variation` (such as `new_order.control`: experiment and variation; null for lists in none) or `function`
(such as `serve_me`; null for rows that are known only from an event). Rows are seen when an event names them; clients
send `Recommendation Shown`. An answer that was withdrawn does not count.
For admins and workers, figures are exact and about all people. For analysts, they are about counted people and whole
weeks (from Monday, UTC), a week in which a group has fewer than `analytics.setting.smallest_group` people is left out,
and numbers are rounded by `analytics.shown`.
Errors: CF001 for an invalid period or `by`, CF002 for a kind that no item has.
$$;

grant execute on function recommend.serving_report(timestamptz, timestamptz, text, text)
to insights_analyst, insights_admin, insights_worker;
