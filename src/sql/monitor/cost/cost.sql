create or replace function monitor._cost(period tstzrange, weeks timestamptz[], list_weeks timestamptz[])
returns setof monitor.cost_figures
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set jit to off
as $$
declare
  v_lists constant monitor.list_duration := (
    select lists
    from monitor._list_histograms(
      array[lower(_cost.period)], array[upper(_cost.period)], null, false,
      case when _cost.list_weeks is not null then array_fill(''::text, array[cardinality(_cost.list_weeks)]) end,
      _cost.list_weeks
    ) as lists
  );
begin
  return query
  with received as (
    select sum(latency.messages)::float8 as units, sum(latency.seconds) as seconds
    from monitor.latency
    where latency.hour_at >= lower(_cost.period)
      and latency.hour_at < upper(_cost.period)
      and (_cost.weeks is null or date_bin('7 days', latency.hour_at, '2000-01-03 00:00Z') = any (_cost.weeks))
      and latency.operation = 'trackIngest'
  ),

  refreshed as (
    select
      sum(run.row_count)::float8 as units, sum(extract(epoch from run.duration))::float8 as seconds
    from monitor.run
    where run.task = 'refresh'
      and run.outcome = 'ok'
      and run.started_at >= lower(_cost.period)
      and run.started_at < upper(_cost.period)
      and (_cost.weeks is null or date_bin('7 days', run.started_at, '2000-01-03 00:00Z') = any (_cost.weeks))
  ),

  trained as (
    select
      count(*)::float8 as units, sum(extract(epoch from model.duration))::float8 as seconds,
      percentile_cont(0.5) within group (order by extract(epoch from model.duration)::float8) as p50,
      percentile_cont(0.95) within group (order by extract(epoch from model.duration)::float8) as p95
    from ml.model
    join ml.project using (project_id)
    where starts_with(project.name, 'recommend.')
      and model.trained_at >= lower(_cost.period)
      and model.trained_at < upper(_cost.period)
      and model.duration is not null
  ),

  kept as (
    select count(distinct model_part.model_id)::float8 as versions from recommend.model_part
  ),

  figure as (
    select 1 as place, 'event' as subject, received.units, received.seconds, null::float8 as p50, null::float8 as p95,
      stored.row_count as stored, stored.bytes
    from received
    cross join monitor._stored_bytes('{track.event}') as stored

    union all

    select 2, 'refresh', refreshed.units, refreshed.seconds, null, null, null, null
    from refreshed

    union all

    select 3, 'list', v_lists.call_count, v_lists.seconds, v_lists.p50_ms / 1000, v_lists.p95_ms / 1000, null, null

    union all

    select 4, 'recommendation', v_lists.item_count, v_lists.seconds, null, null, stored.row_count, stored.bytes
    from monitor._stored_bytes('{recommend.impression}') as stored

    union all

    select 5, 'training', trained.units, trained.seconds, trained.p50, trained.p95, kept.versions, stored.bytes
    from trained
    cross join kept
    cross join monitor._stored_bytes(
      '{recommend.neighbours,recommend.learning,recommend.learned,recommend.learned_item}'
    ) as stored
  )

  select
    figure.subject, coalesce(figure.units, 0)::bigint, figure.seconds, 1000 * figure.seconds / nullif(figure.units, 0),
    1000 * figure.p50, 1000 * figure.p95, figure.stored::bigint, figure.bytes::bigint,
    figure.bytes / nullif(figure.stored, 0)
  from figure
  order by figure.place;
end;
$$;

comment on function monitor._cost(tstzrange, timestamptz[], timestamptz[]) is $$
@behavior -*
Computes the result of `monitor.cost`, with exact figures.
`weeks`: the weeks of messages and refreshes that count, `list_weeks`: those of lists; null: the whole period.
$$;

/* A definer: it reads durations, and sizes of tables that no role may read; it takes no names. */
create or replace function monitor._cost_exact(since timestamptz, until timestamptz)
returns setof monitor.cost_figures
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform common.check_period(_cost_exact.since, _cost_exact.until);
  return query
  select * from monitor._cost(tstzrange(_cost_exact.since, _cost_exact.until), null, null);
end;
$$;

comment on function monitor._cost_exact(timestamptz, timestamptz) is $$
@behavior -*
Returns the result of `monitor.cost` with exact figures, for admins and workers.
$$;

grant execute on function monitor._cost_exact(timestamptz, timestamptz) to insights_admin, insights_worker;

/* A definer: as `_cost_exact`; it also finds the weeks in which enough people were active. */
create or replace function monitor._cost_shown(since timestamptz, until timestamptz)
returns setof monitor.cost_figures
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set jit to off
-- Results of functions have no statistics.
set enable_mergejoin to off
as $$
declare
  v_smallest_group constant int := (select setting.smallest_group from analytics.setting);
  v_period constant tstzrange := monitor._whole_weeks(_cost_shown.since, _cost_shown.until);
  v_weeks timestamptz[];
  v_list_weeks timestamptz[];
begin
  -- A week in which few counted people were active, or were served lists, is left out.
  v_weeks := array(
    select person.week
    from (
      select distinct date_bin('7 days', session.started_at, '2000-01-03 00:00Z') as week, session.person_id
      from track.session
      join track.person_set_blocks('counted') as counted on counted.block = session.person_id / 4096
      where session.started_at >= lower(v_period)
        and session.started_at < upper(v_period)
        and get_bit(counted.people, (session.person_id % 4096)::int) <> 0
    ) as person
    group by person.week
    having count(*) >= v_smallest_group
  );
  v_list_weeks := array(
    select person.week
    from (
      select distinct date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z') as week, impression.person_id
      from recommend.impression
      join track.person_set_blocks('counted') as counted on counted.block = impression.person_id / 4096
      where impression.listed_at >= lower(v_period)
        and impression.listed_at < upper(v_period)
        and impression.is_served
        and get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
    ) as person
    group by person.week
    having count(*) >= v_smallest_group
  );

  return query
  select
    figure.subject, null::bigint, null::float8, monitor._shown_rate(figure.mean_ms, v_smallest_group),
    monitor._shown_rate(figure.p50_ms, v_smallest_group), monitor._shown_rate(figure.p95_ms, v_smallest_group),
    null::bigint, null::bigint, monitor._shown_rate(figure.unit_bytes, v_smallest_group)
  from monitor._cost(v_period, v_weeks, v_list_weeks) as figure;
end;
$$;

comment on function monitor._cost_shown(timestamptz, timestamptz) is $$
@behavior -*
Returns the result of `monitor.cost` for analysts: milliseconds and bytes of a unit, rounded.
$$;

grant execute on function monitor._cost_shown(timestamptz, timestamptz) to insights_analyst;

create or replace function monitor.cost(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now()
)
returns setof monitor.cost_figures
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('monitor._cost_exact(timestamptz, timestamptz)', 'execute') then
    return query select * from monitor._cost_exact(cost.since, cost.until);
  else
    return query select * from monitor._cost_shown(cost.since, cost.until);
  end if;
end;
$$;

comment on function monitor.cost(timestamptz, timestamptz) is $$
Returns what an event, its refresh, a list, a recommendation and a training cost, in milliseconds and bytes.
- `event`: a message given to `trackIngest`; bytes of `track.event`.
- `refresh`: a person whose derived data was brought up to date by the task `refresh`.
- `list`: a call of `recommend.serve_me` or a variant (`recommend.serving_times`); `recommendation`: a row of these
  lists, with the time of the calls divided by their number; bytes of `recommend.impression`.
- `training`: a version of a recommender; bytes of its weights and record, per version whose weights are kept.
Messages, lists and recommendations are those of the hours that begin in the period, in UTC; refreshes those
that began in it, trainings those that ended in it; sizes are those of the present, numbers of stored rows the
estimates of the statistics.
For admins and workers, figures are exact. Analysts read the milliseconds and bytes of a unit, with two significant
digits, without numbers of units: of whole weeks, without those in which fewer than `analytics.setting.smallest_group`
counted people were active (`event`, `refresh`), or were served lists (`list`, `recommendation`).
Errors: CF001 for an invalid period.
$$;

grant execute on function monitor.cost(timestamptz, timestamptz)
to insights_analyst, insights_admin, insights_worker;
