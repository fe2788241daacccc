create or replace function monitor._check_refresh()
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most constant int := 100000;
  v_queued bigint;
  v_refreshed_at timestamptz;
  v_lag interval;
begin
  v_queued := (select count(*) from (select 1 from track.stale limit v_most) as queued)
    + (select count(*) from (select 1 from track.changed limit v_most) as queued);
  if v_queued = 0 then
    return;
  end if;
  v_refreshed_at := (select max(run.started_at) from monitor.run where run.task = 'refresh' and run.outcome = 'ok');
  v_lag := clock_timestamp()
    - coalesce(v_refreshed_at, (select min(run.started_at) from monitor.run where run.task = 'refresh'));

  if v_lag >= interval '15 minutes' then
    return next monitor._finding(
      'refresh', 'lag', case when v_lag >= interval '2 hours' then 'critical' else 'warning' end,
      format(
        '%s%s changes of people wait to be refreshed, %s', v_queued,
        case when v_queued >= v_most then ' or more' end,
        format(
          case
            when v_refreshed_at is null then 'no refresh has succeeded since the first attempt %s ago'
            else 'the last refresh was %s ago'
          end,
          monitor._duration(v_lag)
        )
      ),
      'Start a worker: insights worker. If one is running, read the error: select error from monitor.run '
        || 'where task = ''refresh'' order by started_at desc limit 5. To refresh now: '
        || 'select * from track.refresh(100000)',
      extract(epoch from v_lag), 900
    );
  end if;
  if v_queued >= v_most then
    return next monitor._finding(
      'refresh', 'queue', 'warning',
      format('%s or more changes of people wait to be refreshed', v_queued),
      'After a large import, wait until they are refreshed. Otherwise more arrives than is refreshed: see row_count '
        || 'and duration of select * from monitor.run where task = ''refresh'' order by started_at desc limit 20',
      v_queued, v_most
    );
  end if;
end;
$$;

comment on function monitor._check_refresh() is $$
Finds changes that have not been refreshed for 15 minutes, and more than 100,000 of them.
$$;
