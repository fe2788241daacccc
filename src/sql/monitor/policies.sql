grant select on monitor.run to insights_reader, insights_admin, insights_worker;
-- Not how many rows or people, which may be one, nor messages with values.
grant select (run_id, task, started_at, finished_at, duration, outcome) on monitor.run to insights_analyst;

drop policy if exists all_rows on monitor.run;
create policy all_rows on monitor.run for select using (true);

grant select on monitor.setting, monitor.metric, monitor.probe, monitor.probe_state, monitor.series, monitor.sample,
  monitor.worker to insights_admin, insights_worker;
grant update (every_sample, hourly_samples, daily_samples, most_series, longest_observation)
on monitor.setting to insights_admin;

drop policy if exists all_rows on monitor.setting;
create policy all_rows on monitor.setting for select using (true);
drop policy if exists admins_change on monitor.setting;
create policy admins_change on monitor.setting for update to insights_admin using (true);
drop policy if exists all_rows on monitor.metric;
create policy all_rows on monitor.metric for select using (true);
drop policy if exists all_rows on monitor.probe;
create policy all_rows on monitor.probe for select using (true);
drop policy if exists all_rows on monitor.probe_state;
create policy all_rows on monitor.probe_state for select using (true);
drop policy if exists all_rows on monitor.series;
create policy all_rows on monitor.series for select using (true);
drop policy if exists all_rows on monitor.sample;
create policy all_rows on monitor.sample for select using (true);
drop policy if exists all_rows on monitor.worker;
create policy all_rows on monitor.worker for select using (true);

grant select on monitor.health_check, monitor.scheduled_task, monitor.alert_setting, monitor.alert, monitor.alert_event,
  monitor.alert_silence to insights_admin, insights_worker;
grant update (resolve_after, reopen_within, database_limit_bytes, standby_lag_limit) on monitor.alert_setting
to insights_admin;

grant select on monitor.rule, monitor.rule_bound to insights_admin, insights_worker;

drop policy if exists all_rows on monitor.rule;
create policy all_rows on monitor.rule for select using (true);
drop policy if exists all_rows on monitor.rule_bound;
create policy all_rows on monitor.rule_bound for select using (true);
drop policy if exists all_rows on monitor.health_check;
create policy all_rows on monitor.health_check for select using (true);
drop policy if exists all_rows on monitor.scheduled_task;
create policy all_rows on monitor.scheduled_task for select using (true);
drop policy if exists all_rows on monitor.alert_setting;
create policy all_rows on monitor.alert_setting for select using (true);
drop policy if exists admins_change on monitor.alert_setting;
create policy admins_change on monitor.alert_setting for update to insights_admin using (true);
drop policy if exists all_rows on monitor.alert;
create policy all_rows on monitor.alert for select using (true);
drop policy if exists all_rows on monitor.alert_event;
create policy all_rows on monitor.alert_event for select using (true);
drop policy if exists all_rows on monitor.alert_silence;
create policy all_rows on monitor.alert_silence for select using (true);

grant select on monitor.latency to insights_reader, insights_admin, insights_worker;

drop policy if exists all_rows on monitor.latency;
create policy all_rows on monitor.latency for select using (true);

-- The URLs and the secrets of channels are for no role.
grant select on monitor.channel, monitor.notification to insights_admin, insights_worker;

drop policy if exists all_rows on monitor.channel;
create policy all_rows on monitor.channel for select using (true);
drop policy if exists all_rows on monitor.notification;
create policy all_rows on monitor.notification for select using (true);

grant select on monitor.relevance_setting, monitor.deployment_relevance to insights_admin, insights_worker;

drop policy if exists all_rows on monitor.relevance_setting;
create policy all_rows on monitor.relevance_setting for select using (true);
drop policy if exists all_rows on monitor.deployment_relevance;
create policy all_rows on monitor.deployment_relevance for select using (true);
