create or replace function monitor._check_ledger()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with verified as (
    select
      (array_agg(run.outcome order by run.started_at desc))[1] as outcome,
      (array_agg(run.run_id order by run.started_at desc))[1] as run_id,
      max(run.started_at) filter (where run.outcome = 'ok') as ok_at,
      max(run.started_at) as started_at,
      min(run.started_at) as began_at
    from (
      select run.*
      from monitor.run
      where run.task = 'verify_ledger'
        and run.outcome <> 'running'
      order by run.started_at desc
      limit 20
    ) as run
  )

  select monitor._finding(
    'ledger', 'verification', 'critical',
    format('the ledger could not be verified on %s', to_char(verified.started_at, 'YYYY-MM-DD HH24:MI "UTC"')),
    format('Read the error: select error from monitor.run where run_id = %s. If the ledger and the records differ, '
      || 'records were changed outside of this system: keep a copy of the database, and list the differences: '
      || 'select problem.* from privacy.verify_ledger() as report cross join unnest(report.problems) as problem',
      verified.run_id)
  )
  from verified
  where verified.outcome = 'failed'

  union all

  select monitor._finding(
    'ledger', 'age of the verification', 'warning',
    format('the ledger has not been verified for %s',
      monitor._duration(clock_timestamp() - coalesce(verified.ok_at, verified.began_at))),
    'Verify it: select insights_queue.add_job(''insights:verify_ledger''). A worker does so each day: see the task '
      || 'verify_ledger in monitor.run.',
    extract(epoch from clock_timestamp() - coalesce(verified.ok_at, verified.began_at)),
    extract(epoch from interval '3 days')
  )
  from verified
  where coalesce(verified.ok_at, verified.began_at) < clock_timestamp() - interval '3 days'
    and verified.outcome <> 'failed'

  union all

  select monitor._finding(
    'ledger', 'seal', 'warning',
    format('nothing has been sealed for %s, not even the daily checkpoint',
      monitor._duration(clock_timestamp() - latest.sealed_at)),
    'Start a worker: insights worker. If one is running, seal now: select insights_queue.add_job(''insights:seal''). '
      || 'See the task seal in monitor.run.',
    extract(epoch from clock_timestamp() - latest.sealed_at), extract(epoch from interval '2 days')
  )
  from (select ledger.sealed_at from privacy.ledger order by ledger.position desc limit 1) as latest
  where latest.sealed_at < clock_timestamp() - interval '2 days'
$$;

comment on function monitor._check_ledger() is $$
Finds a ledger that differs from the records, that was not verified for three days, or not sealed for two.
$$;
