grant select on monitor.run to insights_reader, insights_admin, insights_worker;
-- Not how many rows or people, which may be one, nor messages with values.
grant select (run_id, task, started_at, finished_at, duration, outcome) on monitor.run to insights_analyst;

drop policy if exists all_rows on monitor.run;
create policy all_rows on monitor.run for select using (true);

grant select on monitor.latency to insights_reader, insights_admin, insights_worker;

drop policy if exists all_rows on monitor.latency;
create policy all_rows on monitor.latency for select using (true);
