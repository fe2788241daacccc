create or replace function monitor._probe_replication()
returns setof monitor.measurement
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_position constant pg_lsn :=
    case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end;
begin
  return query
  -- Positions are visible to members of pg_read_all_stats only; the number of standbys is to all.
  select 'insights_replication_standbys', null::jsonb, count(*)::float8
  from pg_stat_replication
  union all
  select measured.metric, jsonb_build_object('standby', left(coalesce(nullif(standby.name, ''), 'unnamed'), 200)),
    measured.value
  from (
    select replication.application_name as name,
      max(pg_wal_lsn_diff(v_position, replication.replay_lsn)) as bytes,
      max(extract(epoch from replication.replay_lag)) as seconds
    from pg_stat_replication as replication
    where replication.state is not null
    group by replication.application_name
  ) as standby
  cross join lateral (
    values
      ('insights_replication_lag_bytes', standby.bytes::float8),
      ('insights_replication_lag_seconds', coalesce(standby.seconds, 0)::float8)
  ) as measured (metric, value)
  union all
  select 'insights_replication_absence_seconds', jsonb_build_object('standby', known.name),
    extract(epoch from known.absence)::float8
  from (
    select connected.name, interval '0' as absence from monitor._connected_standbys() as connected
    union all
    select absent.name, absent.absence from monitor._absent_standbys() as absent
  ) as known
  union all
  select measured.metric, jsonb_build_object('slot', slot.slot_name::text), measured.value
  from pg_replication_slots as slot
  cross join lateral (
    values
      ('insights_replication_slot_active', slot.active::int::float8),
      ('insights_replication_slot_retained_bytes', pg_wal_lsn_diff(v_position, slot.restart_lsn)::float8)
  ) as measured (metric, value);
end;
$$;

comment on function monitor._probe_replication() is $$
Measures the standbys of the server and its replication slots, where there are any.
The lag of a standby requires that `insights_owner` is a member of `pg_read_all_stats`.
$$;
