create or replace function monitor.recommendation_report(
  since timestamptz default (now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  by text default 'week',
  kind text default 'course'
)
returns setof monitor.recommendation_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
as $$
declare
  v_figures monitor.relevance_figures[];
  v_starts timestamptz[];
  v_ends timestamptz[];
  v_lists monitor.list_duration[];
  v_bytes constant float8 := (
    select stored.bytes / nullif(stored.row_count, 0) from monitor._stored_bytes('{recommend.impression}') as stored
  );
begin
  if recommendation_report.by is null
    or recommendation_report.by not in ('all', 'week', 'model', 'segment', 'deployment') then
    perform common.refuse(
      'CF001', format('by is %s', coalesce('"' || left(recommendation_report.by, 100) || '"', 'null')),
      'Use all, week, model (version), segment or deployment.'
    );
  end if;
  -- An invoker: `relevance` decides what the caller sees.
  v_figures := array(
    select figures
    from monitor.relevance(
      recommendation_report.since, recommendation_report.until,
      case recommendation_report.by when 'week' then 'all' else recommendation_report.by end,
      recommendation_report.kind, recommendation_report.by = 'week'
    ) as figures
  );
  -- The period of each group, where groups follow each other.
  select
    array_agg(group_.starts_at order by group_.starts_at), array_agg(group_.ends_at order by group_.starts_at)
  into v_starts, v_ends
  from (
    select distinct
      coalesce(figure.starts_at, recommendation_report.since) as starts_at,
      case recommendation_report.by
        when 'week' then figure.starts_at + interval '7 days'
        when 'deployment' then lead(figure.starts_at, 1, recommendation_report.until) over (order by figure.starts_at)
        else recommendation_report.until
      end as ends_at
    from unnest(v_figures) as figure
    where recommendation_report.by <> 'segment'
      and (recommendation_report.by in ('all', 'model') or figure.starts_at is not null)
  ) as group_;

  if has_function_privilege('monitor._list_durations(timestamptz[], timestamptz[], text, boolean)', 'execute') then
    v_lists := array(
      select lists
      from monitor._list_durations(
        v_starts, v_ends, recommendation_report.kind, recommendation_report.by = 'model'
      ) as lists
    );
  else
    v_lists := array(
      select lists
      from monitor._list_durations_shown(
        v_starts, v_ends, recommendation_report.kind, recommendation_report.by = 'model'
      ) as lists
    );
  end if;

  return query
  with figure as (
    select
      figure.*,
      case when recommendation_report.by in ('all', 'model') then recommendation_report.since else figure.starts_at end
        as period_at
    from unnest(v_figures) as figure
  ),

  former as (
    select
      figure.*,
      lag(figure.click_rate) over following as former_rate,
      lag(figure.click_rate_lower) over following as former_lower,
      lag(figure.click_rate_upper) over following as former_upper
    from figure
    window following as (
      order by figure.starts_at, case when recommendation_report.by = 'model' then figure.name::int end
    )
  ),

  trained as (
    select
      case recommendation_report.by when 'model' then model.version::text else period.starts_at::text end as key,
      count(*) as trainings,
      sum(extract(epoch from model.duration))::float8 as seconds
    from ml.model
    join ml.project using (project_id)
    left join unnest(v_starts, v_ends) as period (starts_at, ends_at)
      on model.trained_at >= period.starts_at
      and model.trained_at < period.ends_at
    where project.name = 'recommend.' || recommendation_report.kind
    group by 1
  )

  select
    former.name, former.starts_at, former.person_count, former.list_count, former.served_count,
    lists.p50_ms, lists.p95_ms, 1000 * lists.seconds / nullif(former.served_count, 0), v_bytes,
    case when recommendation_report.by <> 'segment' then coalesce(trained.trainings, 0) end, trained.seconds,
    former.click_rate, former.click_rate_lower, former.click_rate_upper,
    former.corrected_rate, former.corrected_rate_lower, former.corrected_rate_upper,
    former.completion_rate, former.completion_rate_lower, former.completion_rate_upper,
    former.coverage, former.gini,
    compared.change,
    -- From the intervals of both.
    compared.change
      - sqrt((former.click_rate - former.click_rate_lower) ^ 2 + (former.former_upper - former.former_rate) ^ 2),
    compared.change
      + sqrt((former.click_rate_upper - former.click_rate) ^ 2 + (former.former_rate - former.former_lower) ^ 2)
  from former
  cross join lateral (
    select
      case
        when recommendation_report.by in ('week', 'model', 'deployment') then former.click_rate - former.former_rate
      end as change
  ) as compared
  left join unnest(v_lists) as lists
    on lists.starts_at = former.period_at
    and (recommendation_report.by <> 'model' or lists.name is not distinct from former.name)
  left join trained
    on trained.key = case recommendation_report.by when 'model' then former.name else former.period_at::text end
  order by
    former.starts_at, case when recommendation_report.by = 'model' then former.name::int end nulls last, former.name;
end;
$$;

comment on function monitor.recommendation_report(timestamptz, timestamptz, text, text) is $$
Returns the computational efficiency and the relevance of the recommendations of a kind, side by side.
Per `week`, `deployment`, `model` (version), `segment`, or in `all`: milliseconds and bytes of a recommendation, seconds
of training, clicks (as they are, and corrected by the examination of ranks), completions, coverage and concentration,
with the change against the group before: the trend by week, before and after by deployment. Intervals are 95 %; that of
the change is made of those of both groups (MOVER: Zou and Donner, Statistics in Medicine 2008), wider than needed
where the same people are in both. Durations are those of `recommend.serving_times`, of the same kind, by version too:
of the hours that begin in the period. `recommendation_ms` is their sum, divided by the rows of the period.
For analysts, figures are about groups of people, as in `monitor.relevance`, and durations are those of whole weeks
with two significant digits, without weeks in which fewer than `analytics.setting.smallest_group` counted people were
served lists.
Errors: CF001 for an invalid period or `by`, CF002 for a kind that no item has.
$$;

grant execute on function monitor.recommendation_report(timestamptz, timestamptz, text, text)
to insights_analyst, insights_admin, insights_worker;
