create or replace function monitor._probe_privacy()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with open as (
    select request.kind, coalesce(request.extended_until, request.due_at) as due_at
    from privacy.request
    -- As the index of open requests.
    where request.completed_at is null
  ),

  kind as (
    select unnest(
      '{access,portability,erasure,rectification,restriction,objection,opt_out,limit_use}'::text[]
    ) as name
  )

  select measured.metric, jsonb_build_object('kind', kind.name), measured.value
  from (
    select kind.name, count(open.kind) as requests,
      count(*) filter (where open.due_at < clock_timestamp()) as overdue
    from kind
    left join open on open.kind = kind.name
    group by kind.name
  ) as kind
  cross join lateral (
    values
      ('insights_privacy_open_requests', kind.requests::float8),
      ('insights_privacy_overdue_requests', kind.overdue::float8)
  ) as measured (metric, value)
  union all
  select 'insights_privacy_next_deadline_seconds', null,
    extract(epoch from min(open.due_at) - clock_timestamp())::float8
  from open
  union all
  select 'insights_ledger_records', null, ledger.position::float8
  from privacy.ledger_head() as ledger
  union all
  select 'insights_ledger_needs_seal', null, privacy.needs_seal()::int::float8
$$;

comment on function monitor._probe_privacy() is $$
Measures the open requests of people by kind, their deadlines, and the ledger.
$$;
