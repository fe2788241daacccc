grant select on
  experiment.layer, experiment.holdout, experiment.feature, experiment.experiment, experiment.variation,
  experiment.metric, experiment.measured, experiment.metric_event
to insights_reader, insights_analyst, insights_admin, insights_worker;
grant select on experiment.weighting to insights_reader, insights_admin, insights_worker;
-- Without the sums from which a bandit computed the weights.
revoke select on experiment.weighting from insights_analyst;
grant select (experiment_id, since, weights, coverage) on experiment.weighting to insights_analyst;
grant select on experiment.handler to insights_reader, insights_admin, insights_worker;
grant select on experiment.exposure to insights_reader, insights_admin, insights_worker;
grant select on experiment.event_value to insights_reader, insights_admin, insights_worker;
grant select on experiment.day_sum to insights_reader, insights_admin, insights_worker;
grant select on experiment.period_sum to insights_reader, insights_admin, insights_worker;
grant select on experiment.kept_sum to insights_reader, insights_admin, insights_worker;
grant select on experiment.kept to insights_reader, insights_admin, insights_worker;
grant select on experiment.setting to insights_reader, insights_analyst, insights_admin, insights_worker;
grant select on experiment.change to insights_reader, insights_admin;

drop policy if exists all_rows on experiment.layer;
create policy all_rows on experiment.layer for select using (true);
drop policy if exists all_rows on experiment.holdout;
create policy all_rows on experiment.holdout for select using (true);
drop policy if exists all_rows on experiment.feature;
create policy all_rows on experiment.feature for select using (true);
drop policy if exists all_rows on experiment.experiment;
create policy all_rows on experiment.experiment for select using (true);
drop policy if exists all_rows on experiment.variation;
create policy all_rows on experiment.variation for select using (true);
drop policy if exists all_rows on experiment.weighting;
create policy all_rows on experiment.weighting for select using (true);
drop policy if exists all_rows on experiment.metric;
create policy all_rows on experiment.metric for select using (true);
drop policy if exists all_rows on experiment.measured;
create policy all_rows on experiment.measured for select using (true);
drop policy if exists all_rows on experiment.metric_event;
create policy all_rows on experiment.metric_event for select using (true);
drop policy if exists all_rows on experiment.exposure;
create policy all_rows on experiment.exposure for select
to insights_reader, insights_admin, insights_worker using (true);
drop policy if exists all_rows on experiment.event_value;
create policy all_rows on experiment.event_value for select
to insights_reader, insights_admin, insights_worker using (true);
drop policy if exists all_rows on experiment.day_sum;
create policy all_rows on experiment.day_sum for select
to insights_reader, insights_admin, insights_worker using (true);
drop policy if exists all_rows on experiment.period_sum;
create policy all_rows on experiment.period_sum for select
to insights_reader, insights_admin, insights_worker using (true);
drop policy if exists all_rows on experiment.kept_sum;
create policy all_rows on experiment.kept_sum for select
to insights_reader, insights_admin, insights_worker using (true);
drop policy if exists all_rows on experiment.kept;
create policy all_rows on experiment.kept for select
to insights_reader, insights_admin, insights_worker using (true);
drop policy if exists all_rows on experiment.setting;
create policy all_rows on experiment.setting for select using (true);
drop policy if exists all_rows on experiment.change;
create policy all_rows on experiment.change for select to insights_reader, insights_admin using (true);
drop policy if exists all_rows on experiment.handler;
create policy all_rows on experiment.handler for select using (true);
