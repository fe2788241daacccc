grant select on monitor.run to insights_reader, insights_analyst, insights_admin, insights_worker;

drop policy if exists all_rows on monitor.run;
create policy all_rows on monitor.run for select using (true);
