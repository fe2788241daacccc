/* Models and metrics are for everybody who may enter the room; they are written by the functions that train. */

grant select on ml.project, ml.model, ml.deployment to insights_reader, insights_analyst, insights_admin, insights_worker;

drop policy if exists everybody on ml.project;
create policy everybody on ml.project for select using (true);
drop policy if exists everybody on ml.model;
create policy everybody on ml.model for select using (true);
drop policy if exists everybody on ml.deployment;
create policy everybody on ml.deployment for select using (true);
