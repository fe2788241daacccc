create or replace function monitor._check_rollups()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'rollups', differed.rollup,
    -- Again and again: the cause is still there.
    case when differed.hours >= 3 then 'critical' else 'warning' end,
    format(
      '%s differed from the events in %s of %s compared cells, last on %s; they were written again',
      differed.rollup, differed.differing, differed.checked, to_char(differed.checked_at, 'YYYY-MM-DD HH24:MI "UTC"')
    ),
    format(
      'The data is repaired; find the cause, such as a manual change: select month, block, example from '
        || 'track.rollup_check where rollup = ''%s'' and differing > 0. Compare all now: '
        || 'select insights_queue.add_job(''insights:check_rollups'', ''{"seconds": 3600}'')', differed.rollup
    ),
    differed.differing, 1
  )
  from (
    select
      found.rollup, sum(found.differing)::float8 as differing, sum(found.checked)::float8 as checked,
      max(found.checked_at) as checked_at, count(distinct date_trunc('hour', found.checked_at)) as hours
    from track.rollup_check as found
    where found.differing > 0
      and found.checked_at > clock_timestamp() - interval '1 day'
    group by found.rollup
  ) as differed

  union all

  select monitor._finding(
    'rollups', '', 'warning',
    format('the rollups have not been compared with the events for %s',
      monitor._duration(clock_timestamp() - latest.checked_at)),
    'Compare them: select insights_queue.add_job(''insights:check_rollups''). See the runs of the task: '
      || 'select * from monitor.run where task = ''check_rollups'' order by started_at desc limit 5. Nothing is '
      || 'compared while more than 10,000 changes wait to be refreshed.',
    extract(epoch from clock_timestamp() - latest.checked_at), 86400
  )
  from (select checked.checked_at from track.rollup_check as checked order by checked.check_id desc limit 1) as latest
  cross join monitor._schedule() as schedule
  where latest.checked_at < clock_timestamp() - interval '1 day'
    and schedule.executed_at > clock_timestamp() - interval '10 minutes'
    and schedule.known_since < clock_timestamp() - interval '1 day'
$$;

comment on function monitor._check_rollups() is $$
Finds rollups that differed from the events within a day, and that no comparison took place for a day.
$$;
