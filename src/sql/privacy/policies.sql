/*
 * Every role may read purposes and their texts. Decisions and dates of birth are read by admins, and by learners their
 * own, through policies of the room track. No role may read privacy.secret.
 */

grant select on privacy.purpose, privacy.consent_text, privacy.setting
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
grant select on privacy.data_map, privacy.listener, privacy.handler
to insights_reader, insights_analyst, insights_admin, insights_worker;
grant select on privacy.consent, privacy.current_consent, privacy.person_age
to insights_reader, insights_learner, insights_admin, insights_worker;
grant select on privacy.ledger, privacy.removal, privacy.sealed_table to insights_admin, insights_worker;
grant insert, update on privacy.purpose to insights_admin;
grant update (age_of_consent, needs_read_reason) on privacy.setting to insights_admin;

drop policy if exists all_rows on privacy.purpose;
create policy all_rows on privacy.purpose for select using (true);
drop policy if exists admins_insert on privacy.purpose;
create policy admins_insert on privacy.purpose for insert to insights_admin with check (true);
drop policy if exists admins_update on privacy.purpose;
create policy admins_update on privacy.purpose for update to insights_admin using (true);
drop policy if exists all_rows on privacy.data_map;
create policy all_rows on privacy.data_map for select using (true);
drop policy if exists all_rows on privacy.handler;
create policy all_rows on privacy.handler for select using (true);
drop policy if exists all_rows on privacy.listener;
create policy all_rows on privacy.listener for select using (true);
drop policy if exists all_people on privacy.consent;
create policy all_people on privacy.consent for select to insights_reader, insights_admin, insights_worker using (true);
drop policy if exists all_rows on privacy.setting;
create policy all_rows on privacy.setting for select using (true);
drop policy if exists admins_change on privacy.setting;
create policy admins_change on privacy.setting for update to insights_admin using (true);
drop policy if exists all_rows on privacy.consent_text;
create policy all_rows on privacy.consent_text for select using (true);
drop policy if exists all_people on privacy.person_age;
create policy all_people on privacy.person_age for select to insights_reader, insights_admin, insights_worker
using (true);
drop policy if exists all_rows on privacy.sealed_table;
create policy all_rows on privacy.sealed_table for select using (true);
drop policy if exists all_rows on privacy.ledger;
create policy all_rows on privacy.ledger for select using (true);
drop policy if exists all_rows on privacy.removal;
create policy all_rows on privacy.removal for select using (true);

grant select on privacy.erasure to insights_reader, insights_admin, insights_worker;

drop policy if exists all_rows on privacy.erasure;
create policy all_rows on privacy.erasure for select to insights_reader, insights_admin, insights_worker using (true);

grant select on privacy.export_log to insights_reader, insights_admin;

drop policy if exists all_rows on privacy.export_log;
create policy all_rows on privacy.export_log for select to insights_reader, insights_admin using (true);

grant select on privacy.regime
to insights_reader, insights_learner, insights_analyst, insights_admin, insights_worker;
grant insert, update on privacy.regime to insights_admin;
grant select on privacy.request, privacy.open_requests
to insights_reader, insights_learner, insights_admin, insights_worker;

drop policy if exists all_rows on privacy.regime;
create policy all_rows on privacy.regime for select using (true);
drop policy if exists admins_insert on privacy.regime;
create policy admins_insert on privacy.regime for insert to insights_admin with check (true);
drop policy if exists admins_update on privacy.regime;
create policy admins_update on privacy.regime for update to insights_admin using (true);
drop policy if exists all_people on privacy.request;
create policy all_people on privacy.request for select to insights_reader, insights_admin, insights_worker using (true);
drop policy if exists own on privacy.request;
create policy own on privacy.request for select to insights_learner
using (person_id = nullif(current_setting('insights.person_id', true), '')::bigint);

grant select on privacy.restriction to insights_reader, insights_learner, insights_admin, insights_worker;

drop policy if exists all_people on privacy.restriction;
create policy all_people on privacy.restriction for select to insights_reader, insights_admin, insights_worker
using (true);
drop policy if exists own on privacy.restriction;
create policy own on privacy.restriction for select to insights_learner
using (person_id = nullif(current_setting('insights.person_id', true), '')::bigint);

grant select on privacy.disclosure to insights_reader, insights_admin;

drop policy if exists all_rows on privacy.disclosure;
create policy all_rows on privacy.disclosure for select to insights_reader, insights_admin using (true);

grant select on privacy.retention_class, privacy.retention, privacy.retention_total
to insights_reader, insights_analyst, insights_admin, insights_worker;
grant select on privacy.retention_log to insights_reader, insights_admin;

drop policy if exists all_rows on privacy.retention_class;
create policy all_rows on privacy.retention_class for select using (true);
drop policy if exists all_rows on privacy.retention;
create policy all_rows on privacy.retention for select using (true);
drop policy if exists all_rows on privacy.retention_total;
create policy all_rows on privacy.retention_total for select using (true);
drop policy if exists all_rows on privacy.retention_log;
create policy all_rows on privacy.retention_log for select to insights_reader, insights_admin using (true);
