create or replace function monitor._check_clock()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'clock', '', 'warning',
    format('there are records of the future, %s from now (%s): the clock of the server moved back, or was ahead',
      monitor._duration(latest.at - clock_timestamp()), latest.name),
    'Check the clock of the server (timedatectl, chronyc tracking). Until that time, tasks that look at the time of '
      || 'their last run may wait.',
    extract(epoch from latest.at - clock_timestamp()), 60
  )
  from (
    select found.name, found.at
    from (
      select 'monitor.run' as name, latest.started_at as at
      from monitor.scheduled_task as scheduled
      cross join lateral (
        select run.started_at
        from monitor.run
        where run.task = scheduled.task
        order by run.started_at desc
        limit 1
      ) as latest
      union all
      (select 'privacy.ledger', ledger.sealed_at from privacy.ledger order by ledger.position desc limit 1)
      union all
      (
        select 'track.rollup_check', checked.checked_at
        from track.rollup_check as checked
        order by checked.check_id desc
        limit 1
      )
    ) as found
    order by found.at desc
    limit 1
  ) as latest
  where latest.at > clock_timestamp() + interval '1 minute'
$$;

comment on function monitor._check_clock() is $$
Finds records whose time is in the future.
$$;
