create or replace function monitor._absent_standbys()
returns table (name text, absence interval)
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select known.name, known.absence
  from (
    select
      series.labels ->> 'standby' as name,
      make_interval(secs => series.value) + (clock_timestamp() - series.measured_at) as absence
    from monitor.series
    where series.metric = 'insights_replication_absence_seconds'
  ) as known
  where known.absence < interval '7 days'
    -- A standby that was promoted has its own past.
    and known.name <> current_setting('cluster_name')
    and not pg_is_in_recovery()
    and known.name not in (select connected.name from monitor._connected_standbys() as connected)
$$;

comment on function monitor._absent_standbys() is $$
Returns the standbys that were connected in the last seven days and are not, with the time since they were seen.
The metric `insights_replication_absence_seconds` is the memory: 0 while a standby is connected, then its absence.
$$;
