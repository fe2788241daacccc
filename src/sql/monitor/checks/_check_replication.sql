create or replace function monitor._check_replication()
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  -- A standby has no position of its own, and the embedded database no replication.
  if pg_is_in_recovery() or version() like '%wasm%' then
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
  -- Visible to members of pg_monitor only.
  select (monitor._finding(
    'replication', 'standby ' || coalesce(nullif(standby.application_name, ''), standby.pid::text),
    case when standby.replay_lag >= interval '1 hour' then 'critical' else 'warning' end,
    format('the standby %s is %s behind', coalesce(nullif(standby.application_name, ''), standby.pid::text),
      monitor._duration(standby.replay_lag)),
    'Look at the load and the network of the standby, and for a long query there: select * from pg_stat_replication',
    extract(epoch from standby.replay_lag), 300
  )).*
  from pg_catalog.pg_stat_replication as standby
  where standby.replay_lag >= interval '5 minutes';
end;
$$;

comment on function monitor._check_replication() is $$
Finds replication slots that hold much WAL or have lost it, and standbys that are five minutes behind.
$$;
