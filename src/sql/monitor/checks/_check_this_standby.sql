create or replace function monitor._check_this_standby(lag_limit interval)
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_is_connected constant boolean := exists (select from pg_stat_wal_receiver);
  -- Nothing received is left to replay: the time of the last transaction is then no lag.
  v_is_complete constant boolean := v_is_connected and pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn();
  v_lag constant interval := clock_timestamp() - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time());
begin
  if v_is_complete or v_lag < _check_this_standby.lag_limit then
    return;
  end if;
  return query
  select (monitor._finding(
    'replication', 'this standby',
    case when v_lag >= 12 * _check_this_standby.lag_limit then 'critical' else 'warning' end,
    case
      when pg_is_wal_replay_paused() then
        format('this standby has paused its replay, and is %s behind', monitor._duration(v_lag))
      when not v_is_connected then
        format('this standby is not connected to a primary, and has replayed nothing for %s', monitor._duration(v_lag))
      else format('this standby is %s behind', monitor._duration(v_lag))
    end,
    case
      when pg_is_wal_replay_paused() then 'Continue it: select pg_wal_replay_resume()'
      when not v_is_connected then 'Its log has the reason. See primary_conninfo, primary_slot_name, and the slot '
        || 'on the primary: select slot_name, active, wal_status from pg_replication_slots'
      else 'Look at its load, and for a long query, which stops the replay for max_standby_streaming_delay: '
        || 'select pid, query_start, state from pg_stat_activity order by query_start'
    end,
    extract(epoch from v_lag), extract(epoch from _check_this_standby.lag_limit)
  )).*;
end;
$$;

comment on function monitor._check_this_standby(interval) is $$
Finds that the replay of this server, a standby, is behind by the given time: paused, disconnected, or slow.
$$;
