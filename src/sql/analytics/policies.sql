/* The activity of people is read by the functions of insights_reader, and by admins. */

grant select on analytics.setting to insights_reader, insights_analyst, insights_admin, insights_worker;
grant update (smallest_group) on analytics.setting to insights_admin;
grant select on analytics.item_popularity to insights_reader;

drop policy if exists all_rows on analytics.setting;
create policy all_rows on analytics.setting for select using (true);
drop policy if exists admins_change on analytics.setting;
create policy admins_change on analytics.setting for update to insights_admin using (true);

grant select on analytics.prediction_target to insights_reader, insights_analyst, insights_admin, insights_worker;
grant update (horizon, longest_idle, weeks, fewest_rows) on analytics.prediction_target to insights_admin;
drop policy if exists all_rows on analytics.prediction_target;
create policy all_rows on analytics.prediction_target for select using (true);
drop policy if exists admins_change on analytics.prediction_target;
create policy admins_change on analytics.prediction_target for update to insights_admin using (true);

grant select on analytics.segment_setting to insights_reader, insights_analyst, insights_admin, insights_worker;
drop policy if exists all_rows on analytics.segment_setting;
create policy all_rows on analytics.segment_setting for select using (true);
grant select on analytics.cohort to insights_reader, insights_admin, insights_worker;
drop policy if exists all_rows on analytics.cohort;
create policy all_rows on analytics.cohort for select to insights_reader, insights_admin, insights_worker
using (true);
