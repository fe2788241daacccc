/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
create or replace function monitor._relevance(
  since timestamptz,
  until timestamptz,
  by text,
  kind text,
  by_week boolean,
  smallest_group int
)
returns setof monitor.relevance_figures
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set jit to off
-- Results of functions have no statistics.
set enable_nestloop to off
set work_mem to '64MB'
as $$
declare
  v_period constant tstzrange := monitor._reported_period(
    _relevance.since, _relevance.until, _relevance.kind, _relevance.smallest_group
  );
  v_z constant float8 := ml.normal_quantile(0.975);
  v_available bigint;
begin
  if _relevance.by is null or _relevance.by not in ('all', 'model', 'basis', 'rank', 'segment', 'deployment') then
    perform common.refuse('CF001', format('by is %s', coalesce('"' || left(_relevance.by, 100) || '"', 'null')),
      'Use all, model (version), basis, rank, segment or deployment.');
  end if;
  v_available := (
    select count(*)
    from track.item
    where item.kind = _relevance.kind
      and item.merged_item_id is null
      and coalesce(item.available_from < upper(v_period), true)
      and coalesce(item.available_until > lower(v_period), true)
  );

  return query
  with summed as materialized (
    select *
    from monitor._listed_sums(
      lower(v_period), upper(v_period), _relevance.by, _relevance.kind, coalesce(_relevance.by_week, false),
      _relevance.smallest_group
    )
  ),

  whole as (
    select *
    from summed
    where summed.person_id is not null
  ),

  -- Sums, and those of squares and products, from which the variance of a quotient of sums over people follows.
  grouped as (
    select
      whole.name, whole.starts_at, count(*) as people, sum(whole.list_count) as lists,
      sum(whole.served_count) as served, sum(whole.served_count ^ 2) as served_served,
      sum(whole.seen_count) as seen, count(*) filter (where whole.seen_count > 0) as seen_people,
      sum(whole.clicked_count) as clicked, count(*) filter (where whole.clicked_count > 0) as clicked_people,
      sum(whole.completed_count) as completed, count(*) filter (where whole.completed_count > 0) as completed_people,
      sum(whole.dismissed_count) as dismissed, count(*) filter (where whole.dismissed_count > 0) as dismissed_people,
      sum(whole.liked_count) as liked, count(*) filter (where whole.liked_count > 0) as liked_people,
      sum(whole.disliked_count) as disliked, count(*) filter (where whole.disliked_count > 0) as disliked_people,
      sum(whole.viewed_count) as viewed, count(*) filter (where whole.viewed_count > 0) as viewed_people,
      sum(whole.dwell_seconds) as seconds, sum(whole.dwell_seconds ^ 2) as seconds_seconds,
      sum(whole.dwell_seconds * whole.clicked_count) as seconds_clicked,
      sum(whole.clicked_count ^ 2) as clicked_clicked,
      sum(whole.clicked_count * whole.served_count) as clicked_served,
      sum(whole.completed_count ^ 2) as completed_completed,
      sum(whole.completed_count * whole.served_count) as completed_served,
      sum(whole.dismissed_count ^ 2) as dismissed_dismissed,
      sum(whole.dismissed_count * whole.served_count) as dismissed_served
    from whole
    group by whole.name, whole.starts_at
  ),

  shown as (
    select
      grouped.name, grouped.starts_at,
      analytics.shown(grouped.people, grouped.people, _relevance.smallest_group)::bigint as people,
      analytics.shown(grouped.lists, grouped.people, _relevance.smallest_group)::bigint as lists,
      analytics.shown(grouped.served, grouped.people, _relevance.smallest_group)::bigint as served,
      analytics.shown(grouped.seen, grouped.seen_people, _relevance.smallest_group)::bigint as seen,
      analytics.shown(grouped.clicked, grouped.clicked_people, _relevance.smallest_group)::bigint as clicked,
      analytics.shown(grouped.completed, grouped.completed_people, _relevance.smallest_group)::bigint as completed,
      analytics.shown(grouped.dismissed, grouped.dismissed_people, _relevance.smallest_group)::bigint as dismissed,
      analytics.shown(grouped.liked, grouped.liked_people, _relevance.smallest_group)::bigint as liked,
      analytics.shown(grouped.disliked, grouped.disliked_people, _relevance.smallest_group)::bigint as disliked,
      analytics.shown(grouped.viewed, grouped.viewed_people, _relevance.smallest_group)::bigint as viewed,
      grouped.seconds / nullif(grouped.clicked, 0) as dwell,
      -- Of a quotient of sums over people, by the delta method.
      sqrt(greatest(
        0,
        grouped.clicked_people / nullif(grouped.clicked_people - 1, 0)::float8 * (
          grouped.seconds_seconds - 2 * grouped.seconds / nullif(grouped.clicked, 0) * grouped.seconds_clicked
            + (grouped.seconds / nullif(grouped.clicked, 0)) ^ 2 * grouped.clicked_clicked
        )
      )) / nullif(grouped.clicked, 0) as dwell_error,
      monitor._shown_rate(
        monitor._design_effect(
          grouped.people, grouped.clicked, grouped.served, grouped.clicked_clicked, grouped.clicked_served,
          grouped.served_served
        ), _relevance.smallest_group
      ) as clicked_effect,
      monitor._shown_rate(
        monitor._design_effect(
          grouped.people, grouped.completed, grouped.served, grouped.completed_completed,
          grouped.completed_served, grouped.served_served
        ), _relevance.smallest_group
      ) as completed_effect,
      monitor._shown_rate(
        monitor._design_effect(
          grouped.people, grouped.dismissed, grouped.served, grouped.dismissed_dismissed,
          grouped.dismissed_served, grouped.served_served
        ), _relevance.smallest_group
      ) as dismissed_effect
    from grouped
  ),

  corrected as (
    select *
    from monitor._corrected_rates(
      lower(v_period), upper(v_period), _relevance.kind, _relevance.smallest_group,
      (
        select
          array_agg(
            row(cell.name, cell.starts_at, cell.rank, cell.bucket, cell.served_count, cell.clicked_count)
              ::monitor.ranked_cell
          )
        from summed as cell
        where cell.rank is not null
      )
    )
  ),

  ordered as (
    select
      item.name, item.starts_at, item.served_count as served, information.bits,
      row_number() over (partition by item.name, item.starts_at order by item.served_count desc) as place
    from summed as item
    left join monitor._self_information(_relevance.kind, _relevance.smallest_group) as information using (item_id)
    where item.item_id is not null
  ),

  -- Items that were not served are the last ones; they add to the number of items only.
  spread as (
    select
      ordered.name, ordered.starts_at, count(*) as items,
      greatest(v_available, count(*)) as available,
      sum(ordered.served) as served,
      sum(ordered.place * ordered.served) as placed,
      sum(ordered.bits * ordered.served) / sum(ordered.served) as novelty,
      sum(ordered.served) filter (where ordered.place <= ceil(greatest(v_available, 1) / 10.0)) as top_tenth
    from ordered
    group by ordered.name, ordered.starts_at
  )

  -- Rates are computed from the numbers as shown.
  select
    shown.name, shown.starts_at, shown.people, shown.lists, figure.served, shown.seen, figure.clicked,
    figure.completed, figure.dismissed, shown.liked, shown.disliked,
    figure.clicked::float8 / nullif(figure.served, 0),
    (monitor._rate_bounds(figure.clicked, figure.served, shown.clicked_effect))[1],
    (monitor._rate_bounds(figure.clicked, figure.served, shown.clicked_effect))[2],
    case when shown.clicked = 0 then 0 else monitor._shown_rate(corrected.rate, _relevance.smallest_group) end,
    case when shown.clicked > 0 then monitor._shown_rate(corrected.lower, _relevance.smallest_group) end,
    case when shown.clicked > 0 then monitor._shown_rate(corrected.upper, _relevance.smallest_group) end,
    figure.completed::float8 / nullif(figure.served, 0),
    (monitor._rate_bounds(figure.completed, figure.served, shown.completed_effect))[1],
    (monitor._rate_bounds(figure.completed, figure.served, shown.completed_effect))[2],
    figure.dismissed::float8 / nullif(figure.served, 0),
    (monitor._rate_bounds(figure.dismissed, figure.served, shown.dismissed_effect))[1],
    (monitor._rate_bounds(figure.dismissed, figure.served, shown.dismissed_effect))[2],
    coalesce(spread.items, 0),
    monitor._shown_rate(coalesce(spread.items::float8 / spread.available, 0), _relevance.smallest_group),
    monitor._shown_rate(
      1 + 1.0 / spread.available - 2 * spread.placed / (spread.available * spread.served), _relevance.smallest_group
    ),
    monitor._shown_rate(spread.top_tenth / spread.served, _relevance.smallest_group),
    least(shown.viewed, shown.clicked),
    monitor._shown_rate(viewed.dwell, _relevance.smallest_group),
    case when viewed.error is not null then
      monitor._shown_rate(greatest(0, viewed.dwell - v_z * viewed.error), _relevance.smallest_group)
    end,
    monitor._shown_rate(viewed.dwell + v_z * viewed.error, _relevance.smallest_group),
    monitor._shown_rate(spread.novelty, _relevance.smallest_group)
  from shown
  cross join lateral (
    select
      shown.served,
      least(shown.clicked, shown.served) as clicked,
      least(shown.completed, shown.served) as completed,
      least(shown.dismissed, shown.served) as dismissed
  ) as figure
  -- Without page views, for lack of them or of people, there is no dwell time.
  left join lateral (
    select shown.dwell, shown.dwell_error as error where shown.viewed > 0 and shown.clicked > 0
  ) as viewed on true
  left join corrected
    on corrected.name is not distinct from shown.name
    and corrected.starts_at is not distinct from shown.starts_at
  left join spread
    on spread.name is not distinct from shown.name
    and spread.starts_at is not distinct from shown.starts_at
  order by
    case when _relevance.by in ('model', 'rank', 'deployment') then shown.name::bigint end nulls last,
    shown.name, shown.starts_at;
end;
$$;

alter function monitor._relevance(timestamptz, timestamptz, text, text, boolean, int)
owner to insights_reader;

comment on function monitor._relevance(timestamptz, timestamptz, text, text, boolean, int) is $$
@behavior -*
Computes the result of `monitor.relevance`.
`smallest_group`: figures of groups of counted people (see `analytics.shown`); null: exact figures of all people.
$$;

grant execute on function monitor._relevance(timestamptz, timestamptz, text, text, boolean, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the impressions of people, and returns figures about groups only. */
create or replace function monitor._relevance_shown(
  since timestamptz, until timestamptz, by text, kind text, by_week boolean
)
returns setof monitor.relevance_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._relevance($1, $2, $3, $4, $5, (select smallest_group from analytics.setting));
$$;

alter function monitor._relevance_shown(timestamptz, timestamptz, text, text, boolean) owner to insights_reader;

comment on function monitor._relevance_shown(timestamptz, timestamptz, text, text, boolean) is $$
@behavior -*
Returns the result of `monitor.relevance` for analysts: figures of groups, rounded.
$$;

grant execute on function monitor._relevance_shown(timestamptz, timestamptz, text, text, boolean) to insights_analyst;

create or replace function monitor.relevance(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  by text default 'model',
  kind text default 'course',
  by_week boolean default false
)
returns setof monitor.relevance_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('monitor._relevance(timestamptz, timestamptz, text, text, boolean, int)', 'execute') then
    return query
    select *
    from monitor._relevance(
      relevance.since, relevance.until, relevance.by, relevance.kind, relevance.by_week, null
    );
  else
    return query
    select *
    from monitor._relevance_shown(
      relevance.since, relevance.until, relevance.by, relevance.kind, relevance.by_week
    );
  end if;
end;
$$;

comment on function monitor.relevance(timestamptz, timestamptz, text, text, boolean) is $$
Returns how relevant the recommended items of a kind were.
Clicks, dwell time, completions, dismissals, coverage, concentration and novelty, of the rows of lists that
`recommend.serve_me` and its variants recorded: rows that are known from an answer alone would be more frequent in
better lists. Rates are shares of the rows that were served. `by`: `all`, `model` (version), `basis`, `rank`, `segment`
(a person counts in each of hers) or `deployment`, of which each lasts until the next; `by_week`: for each week from
Monday, UTC. `corrected_rate` does not depend on the ranks at which rows were: see `monitor.position_bias`. Intervals
are 95 %, with people as clusters.
For admins and workers, figures are exact and about all people. For analysts, they are about counted people and whole
weeks, a week in which a group has fewer than `analytics.setting.smallest_group` people is left out, numbers are
rounded by `analytics.shown`, and other figures to two significant digits.
Errors: CF001 for an invalid period or `by`, CF002 for a kind that no item has.
$$;

grant execute on function monitor.relevance(timestamptz, timestamptz, text, text, boolean)
to insights_analyst, insights_admin, insights_worker;
