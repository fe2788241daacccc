create or replace function monitor._probe_refresh()
returns setof monitor.measurement
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  -- A rebuild queues all people: counting them all would take longer the later they are refreshed.
  v_most constant int := 100000;
begin
  return query
  with queued (step, periods) as (
    select 'track.session', count(*)
    from (select 1 from track.stale limit v_most) as stale
    union all
    select consumer.consumer, changed.periods
    from track.consumer
    cross join lateral (
      select count(*) as periods
      from (select 1 from track.changed where changed.consumer = consumer.consumer limit v_most) as queue
    ) as changed
  )

  select 'insights_refresh_queued_periods', jsonb_build_object('step', queued.step), queued.periods::float8
  from queued
  union all
  -- The time of the last refresh is that until which the derived data is complete, if anything has changed since then.
  -- Before the first one that succeeded, that of the first attempt.
  select 'insights_refresh_lag_seconds', null,
    case
      when exists (select 1 from queued where queued.periods > 0)
        then extract(
          epoch from clock_timestamp() - coalesce(
            (select max(run.started_at) from monitor.run where run.task = 'refresh' and run.outcome = 'ok'),
            (select min(run.started_at) from monitor.run where run.task = 'refresh')
          )
        )::float8
      else 0
    end;
end;
$$;

comment on function monitor._probe_refresh() is $$
Measures the queues of the refresh, of each step up to 100,000 periods, and how old the derived data is.
$$;
