create or replace function monitor._check_requests()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'requests', pending.kind || ' (overdue)', 'critical',
    format('%s %s of people for %s, the oldest of which had to be answered %s ago', pending.overdue,
      case pending.overdue when 1 then 'request' else 'requests' end, pending.kind,
      monitor._duration(clock_timestamp() - pending.due_at)),
    format('Answer them, and record it with privacy.complete_request: select request_id, due_at from '
      || 'privacy.open_requests where kind = ''%s'' order by due_at', pending.kind),
    pending.overdue, 1
  )
  from (
    select
      request.kind, count(*) as overdue, min(request.due_at) as due_at
    from privacy.open_requests as request
    where request.is_overdue
    group by request.kind
  ) as pending

  union all

  select monitor._finding(
    'requests', pending.kind || ' (soon)', 'warning',
    format('%s %s of people for %s must be answered within 3 days', pending.soon,
      case pending.soon when 1 then 'request' else 'requests' end, pending.kind),
    format('select request_id, due_at from privacy.open_requests where kind = ''%s'' order by due_at', pending.kind),
    pending.soon, 1
  )
  from (
    select request.kind, count(*) as soon
    from privacy.open_requests as request
    where not request.is_overdue
      and request.due_at < clock_timestamp() + interval '3 days'
    group by request.kind
  ) as pending

  union all

  select monitor._finding(
    'requests', 'erasures', 'warning',
    format('%s erasures are not completed: views and lists still contain their sums', pending.open),
    'Start a worker: insights worker. If one is running, see the task erase in monitor.run.',
    pending.open, 1
  )
  from (
    select count(*) as open
    from privacy.erasure
    where erasure.completed_at is null
      and erasure.erased_at < clock_timestamp() - interval '1 day'
  ) as pending
  where pending.open > 0
$$;

comment on function monitor._check_requests() is $$
Finds requests of people that are overdue or must be answered within three days, and erasures that are not completed.
$$;
