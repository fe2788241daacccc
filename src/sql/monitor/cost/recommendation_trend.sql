create or replace function monitor.recommendation_trend(
  since timestamptz default (now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  kind text default 'course'
)
returns setof monitor.recommendation_slope
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
as $$
begin
  -- An invoker: `recommendation_report` decides what the caller sees.
  return query
  with measured as (
    select value.place, value.figure, extract(epoch from week.starts_at)::float8 / 604800 as week, value.value
    from monitor.recommendation_report(
      recommendation_trend.since, recommendation_trend.until, 'week', recommendation_trend.kind
    ) as week
    cross join lateral (
      values
        (1, 'click_rate', week.click_rate),
        (2, 'corrected_rate', week.corrected_rate),
        (3, 'completion_rate', week.completion_rate),
        (4, 'coverage', week.coverage),
        (5, 'gini', week.gini),
        (6, 'list_p50_ms', week.list_p50_ms),
        (7, 'list_p95_ms', week.list_p95_ms),
        (8, 'recommendation_ms', week.recommendation_ms)
    ) as value (place, figure, value)
    -- Whole weeks only.
    where week.starts_at >= recommendation_trend.since
      and week.starts_at + interval '7 days' <= recommendation_trend.until
  ),

  gathered as (
    select
      measured.place, measured.figure, count(measured.value)::int as weeks,
      percentile_cont(0.5) within group (order by measured.value) as middle,
      coalesce(array_agg(measured.week order by measured.week) filter (where measured.value is not null), '{}') as x,
      coalesce(array_agg(measured.value order by measured.week) filter (where measured.value is not null), '{}') as y
    from measured
    group by measured.place, measured.figure
  )

  select
    gathered.figure, gathered.weeks, gathered.middle, fitted.slope, fitted.slope_lower, fitted.slope_upper,
    case
      when fitted.slope_lower is null then 'unknown'
      when fitted.slope_lower > 0 then 'rising'
      when fitted.slope_upper < 0 then 'falling'
      else 'steady'
    end
  from gathered
  cross join lateral monitor._theil_sen(gathered.x, gathered.y) as fitted
  order by gathered.place;
end;
$$;

comment on function monitor.recommendation_trend(timestamptz, timestamptz, text) is $$
Returns how the cost and the relevance of recommendations of a kind change per week, with 95 % intervals.
For each figure of `monitor.recommendation_report`, the median of the slopes between all pairs of whole weeks (Theil and
Sen), which single weeks, such as holidays, change little. Completions follow their lists by weeks, so that the latest
weeks have fewer of them. For analysts, figures of weeks are rounded as in the report, and so are their slopes.
Errors: CF001 for an invalid period, CF002 for a kind that no item has.
$$;

grant execute on function monitor.recommendation_trend(timestamptz, timestamptz, text)
to insights_analyst, insights_admin, insights_worker;
