create or replace function monitor._check_replication()
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_limit constant interval := (select setting.standby_lag_limit from monitor.alert_setting as setting);
begin
  if version() like '%wasm%' then
    return;
  end if;
  if pg_is_in_recovery() then
    return query select found.* from monitor._check_this_standby(v_limit) as found;
    return;
  end if;

  return query
  select (monitor._finding(
    'replication', 'slot ' || slot.slot_name,
    case when slot.wal_status in ('unreserved', 'lost') or slot.bytes >= 50e9 then 'critical' else 'warning' end,
    case slot.wal_status
      when 'lost' then format('the replication slot %s has lost data that its standby needs', slot.slot_name)
      else format(
        'the replication slot %s is %s and holds %s of WAL', slot.slot_name,
        case when slot.active then 'behind' else 'not in use' end, pg_size_pretty(slot.bytes)
      )
    end,
    case slot.wal_status
      when 'lost' then format('Build its standby again, and drop the slot: select pg_drop_replication_slot(%L)',
        slot.slot_name)
      else format('Start what reads it. If nothing does any more, drop it before the disk is full: '
        || 'select pg_drop_replication_slot(%L)', slot.slot_name)
    end,
    slot.bytes::float8, 1e9
  )).*
  from (
    select slots.slot_name, slots.active, slots.wal_status,
      pg_wal_lsn_diff(pg_current_wal_lsn(), slots.restart_lsn) as bytes
    from pg_catalog.pg_replication_slots as slots
  ) as slot
  where slot.wal_status in ('unreserved', 'lost')
    or not slot.active and slot.bytes >= 1e9
    or slot.bytes >= 10e9;

  return query
  -- Visible to members of pg_read_all_stats only.
  select (monitor._finding(
    'replication', 'standby ' || coalesce(nullif(standby.application_name, ''), standby.pid::text),
    case when standby.replay_lag >= 12 * v_limit then 'critical' else 'warning' end,
    format('the standby %s is %s behind', coalesce(nullif(standby.application_name, ''), standby.pid::text),
      monitor._duration(standby.replay_lag)),
    'On the standby, continue the replay if it is paused: select pg_wal_replay_resume(). Otherwise look at its load '
      || 'and network, and for a long query there, which stops it for max_standby_streaming_delay: '
      || 'select pid, query_start, state from pg_stat_activity order by query_start',
    extract(epoch from standby.replay_lag), extract(epoch from v_limit)
  )).*
  from pg_catalog.pg_stat_replication as standby
  where standby.replay_lag >= v_limit;

  return query
  select (monitor._finding(
    'replication', 'standby ' || standby.name,
    case when standby.absence >= 12 * v_limit then 'critical' else 'warning' end,
    format('the standby %s has not been connected for %s', standby.name, monitor._duration(standby.absence)),
    format('Start it; its log has the reason why it cannot connect. If it was removed: '
      || 'select monitor.silence(''replication'', now() + interval ''7 days'', ''removed'', %L)',
      'standby ' || standby.name),
    extract(epoch from standby.absence), extract(epoch from v_limit)
  )).*
  from monitor._absent_standbys() as standby
  where standby.absence >= v_limit;

  return query
  select (monitor._finding(
    'replication', 'visibility', 'warning',
    format('standbys are connected (%s), and how far they are behind is not visible', count(*)),
    'As an administrator: grant pg_read_all_stats to insights_owner'
  )).*
  from pg_catalog.pg_stat_replication as standby
  where standby.state is null
  having count(*) > 0;
end;
$$;

comment on function monitor._check_replication() is $$
Finds replication slots that hold much WAL or have lost it, and standbys that are behind or no longer connected.
The limit of both is `monitor.alert_setting.standby_lag_limit`. On a standby, its own replay is checked.
$$;
