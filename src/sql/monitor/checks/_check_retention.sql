create or replace function monitor._check_retention()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'retention', '',
    case when late.since < clock_timestamp() - interval '7 days' then 'critical' else 'warning' end,
    format('the rules of retention (%s) have not been applied for %s', late.rules,
      monitor._duration(clock_timestamp() - late.since)),
    'Start a worker, or see the task apply_retention in monitor.run. To apply them now: insights retention apply --yes',
    extract(epoch from clock_timestamp() - late.since), extract(epoch from interval '2 days')
  )
  from (
    select
      left(string_agg(retention.rule, ', ' order by retention.rule), 200) as rules,
      greatest(
        min(retention.set_at),
        (
          select max(run.started_at)
          from monitor.run
          where run.task = 'apply_retention'
            and run.outcome = 'ok'
        )
      ) as since
    from privacy.retention
    having count(*) > 0
  ) as late
  where late.since < clock_timestamp() - interval '2 days'
$$;

comment on function monitor._check_retention() is $$
Finds that rules of retention were not applied for two days.
$$;
