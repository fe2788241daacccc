create or replace function monitor.cost(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now()
)
returns setof monitor.cost_figures
language plpgsql
stable
-- A definer: it reads durations, and sizes of tables that no role may read; it takes no names.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set jit to off
as $$
declare
  v_lists monitor.list_duration;
begin
  perform common.check_period(cost.since, cost.until);
  v_lists := (select lists from monitor._list_durations(array[cost.since], array[cost.until], null, false) as lists);

  return query
  with received as (
    select sum(latency.messages)::float8 as units, sum(latency.seconds) as seconds
    from monitor.latency
    where latency.hour_at >= cost.since
      and latency.hour_at < cost.until
      and latency.operation = 'trackIngest'
  ),

  refreshed as (
    select
      sum(run.row_count)::float8 as units, sum(extract(epoch from run.duration))::float8 as seconds
    from monitor.run
    where run.task = 'refresh'
      and run.outcome = 'ok'
      and run.started_at >= cost.since
      and run.started_at < cost.until
  ),

  trained as (
    select
      count(*)::float8 as units, sum(extract(epoch from model.duration))::float8 as seconds,
      percentile_cont(0.5) within group (order by extract(epoch from model.duration)::float8) as p50,
      percentile_cont(0.95) within group (order by extract(epoch from model.duration)::float8) as p95
    from ml.model
    join ml.project using (project_id)
    where starts_with(project.name, 'recommend.')
      and model.trained_at >= cost.since
      and model.trained_at < cost.until
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

comment on function monitor.cost(timestamptz, timestamptz) is $$
Returns what an event, its refresh, a list, a recommendation and a training cost, in milliseconds and bytes.
- `event`: a message given to `trackIngest`; bytes of `track.event`.
- `refresh`: a person whose derived data was brought up to date by the task `refresh`.
- `list`: a call of `recommend.serve_me` or a variant (`recommend.serving_times`); `recommendation`: a row of these
  lists, with the time of the calls divided by their number; bytes of `recommend.impression`.
- `training`: a version of a recommender; bytes of its weights and record, per version whose weights are kept.
Messages, lists and recommendations are those of the hours that begin in the period, in UTC; refreshes those
that began in it, trainings those that ended in it; sizes are those of the present, numbers of stored rows as of the
last analyze.
Errors: CF001 for an invalid period.
$$;

grant execute on function monitor.cost(timestamptz, timestamptz) to insights_admin, insights_worker;
