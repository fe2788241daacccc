grant select on monitor.run to insights_reader, insights_analyst, insights_admin, insights_worker;

drop policy if exists everybody on monitor.run;
create policy everybody on monitor.run for select using (true);
