/* Learners read their own rows, admins all rows. Weights and keys are read only by the functions of the room. */

grant select on recommend.setting, recommend.event_weight
to insights_reader, insights_learner, insights_analyst, insights_admin, insights_worker;
grant update (full_weight, lambdas, fewest_people, most_test_people, versions_kept, most_reasons, kept_kinds)
on recommend.setting to insights_admin;
grant insert, update, delete on recommend.event_weight to insights_admin;
grant select on recommend.interaction, recommend.dismissed_topic, recommend.taken
to insights_reader, insights_learner, insights_admin;
grant select on recommend.interaction, recommend.impression to insights_reader, insights_learner, insights_admin;

drop policy if exists all_rows on recommend.setting;
create policy all_rows on recommend.setting for select using (true);
drop policy if exists admins_change on recommend.setting;
create policy admins_change on recommend.setting for update to insights_admin using (true);
drop policy if exists all_rows on recommend.event_weight;
create policy all_rows on recommend.event_weight for select using (true);
drop policy if exists admins_insert on recommend.event_weight;
create policy admins_insert on recommend.event_weight for insert to insights_admin with check (true);
drop policy if exists admins_update on recommend.event_weight;
create policy admins_update on recommend.event_weight for update to insights_admin using (true);
drop policy if exists admins_delete on recommend.event_weight;
create policy admins_delete on recommend.event_weight for delete to insights_admin using (true);

drop policy if exists own on recommend.interaction;
create policy own on recommend.interaction for select to insights_learner
using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint);
drop policy if exists all_people on recommend.interaction;
create policy all_people on recommend.interaction for select to insights_reader, insights_admin, insights_worker
using (true);

drop policy if exists own on recommend.dismissed_topic;
create policy own on recommend.dismissed_topic for select to insights_learner
using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint);
drop policy if exists all_people on recommend.dismissed_topic;
create policy all_people on recommend.dismissed_topic for select to insights_reader, insights_admin, insights_worker
using (true);

drop policy if exists own on recommend.taken;
create policy own on recommend.taken for select to insights_learner
using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint);
drop policy if exists all_people on recommend.taken;
create policy all_people on recommend.taken for select to insights_reader, insights_admin, insights_worker
using (true);
-- Rules are changed by functions, which check and log them.
grant select on recommend.rule, recommend.rule_item
to insights_reader, insights_analyst, insights_admin, insights_worker;
grant select on recommend.rule_log to insights_admin;
grant update (topic_attribute, explored_slots, explored_pool_size, diversity, diversity_method)
on recommend.setting to insights_admin;

drop policy if exists all_rows on recommend.rule;
create policy all_rows on recommend.rule for select using (true);
drop policy if exists all_rows on recommend.rule_item;
create policy all_rows on recommend.rule_item for select using (true);
drop policy if exists all_rows on recommend.rule_log;
create policy all_rows on recommend.rule_log for select using (true);
grant update (serving_period, attribution_period, fewest_test_people, most_learned_items) on recommend.setting
to insights_admin;

drop policy if exists own on recommend.impression;
create policy own on recommend.impression for select to insights_learner
using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint);
drop policy if exists all_people on recommend.impression;
create policy all_people on recommend.impression for select to insights_reader, insights_admin, insights_worker
using (true);

grant select on
  recommend.evaluation, recommend.evaluation_model, recommend.evaluation_result, recommend.evaluation_comparison,
  recommend.best_parameters
to insights_reader, insights_analyst, insights_admin, insights_worker;

drop policy if exists all_rows on recommend.evaluation;
create policy all_rows on recommend.evaluation for select using (true);
drop policy if exists all_rows on recommend.evaluation_model;
create policy all_rows on recommend.evaluation_model for select using (true);
drop policy if exists all_rows on recommend.evaluation_result;
create policy all_rows on recommend.evaluation_result for select using (true);
drop policy if exists all_rows on recommend.evaluation_comparison;
create policy all_rows on recommend.evaluation_comparison for select using (true);
drop policy if exists all_rows on recommend.best_parameters;
create policy all_rows on recommend.best_parameters for select using (true);

grant select on recommend.list_parameters to insights_reader, insights_analyst, insights_admin, insights_worker;
drop policy if exists all_rows on recommend.list_parameters;
create policy all_rows on recommend.list_parameters for select using (true);

-- Not the lists, which are of people.
revoke select on recommend.serving_call from insights_admin, insights_worker;
grant select (hour_at, function_name, kind, model_id, item_count, seconds) on recommend.serving_call
to insights_admin, insights_worker;
grant select on recommend.serving_call to insights_reader, insights_learner;
grant select on recommend.serving_time to insights_reader, insights_admin, insights_worker;
drop policy if exists own on recommend.serving_call;
create policy own on recommend.serving_call for select to insights_learner
using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint);
drop policy if exists all_rows on recommend.serving_call;
create policy all_rows on recommend.serving_call for select to insights_reader, insights_admin, insights_worker
using (true);
drop policy if exists all_rows on recommend.serving_time;
create policy all_rows on recommend.serving_time for select to insights_reader, insights_admin, insights_worker
using (true);
