create or replace function monitor.delete_old_latencies(older_than interval default '400 days')
returns bigint
language plpgsql
volatile
-- A definer: workers have no privilege to delete from monitor.latency.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_deleted bigint;
begin
  if delete_old_latencies.older_than between '1 day' and '1000 years' is not true then
    perform common.refuse('CF001', format('older_than is %s', coalesce(delete_old_latencies.older_than::text, 'null')),
      'Give an interval from a day to 1000 years.');
  end if;
  delete from monitor.latency where latency.hour_at < now() - delete_old_latencies.older_than;
  get diagnostics v_deleted = row_count;
  -- A process that has not written for a day has ended.
  delete from monitor.latency_writer where latency_writer.written_at < now() - interval '1 day';
  return v_deleted;
end;
$$;

comment on function monitor.delete_old_latencies(interval) is $$
@behavior -mutationField
Deletes latencies of hours older than `older_than`. Returns the number of deleted rows.
Errors: CF001 for less than a day.
$$;

grant execute on function monitor.delete_old_latencies(interval) to insights_worker;
