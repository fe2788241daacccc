/*
 * Learners read their own rows, admins those of all people. Analysts read items and event types, and call functions of
 * insights_reader for everything else.
 */

grant select on track.former_parent to insights_reader, insights_admin;

grant select on track.item, track.item_ancestor, track.prerequisite, track.event_type
to insights_reader, insights_learner, insights_analyst, insights_admin, insights_worker;

-- Whether an event is automatic, for journeys.
grant select (source_id, is_automatic) on track.source to insights_learner;

grant select on track.setting, track.source, track.consumer
to insights_reader, insights_analyst, insights_admin, insights_worker;

grant update (
  session_timeout, heartbeat, minimum_visit, longest_gap, oldest_event, oldest_client_event, newest_event,
  longest_properties, largest_batch, longest_view, clock_tolerance, path_rule, kept_parameters,
  most_identities, most_trait_times, allowed_properties, personal_data, contact_traits, agent_properties, bots
)
on track.setting to insights_admin;

grant select on track.placeholder_id to insights_reader, insights_analyst, insights_admin, insights_worker;
grant insert, delete on track.placeholder_id to insights_admin;

grant update (purpose, opens_view, is_heartbeat, is_automatic, description) on track.event_type to insights_admin;

grant update (heartbeat, is_automatic) on track.source to insights_admin;

grant select on
  track.person, track.identity, track.identity_link, track.trait, track.trait_history, track.enrolment,
  track.item_role, track.event, track.session, track.page_view
to insights_reader, insights_learner, insights_admin;

grant select (
  key_id, source_id, preview, scopes, origins, requests_per_minute, created_at, expires_at, revoked_at, used_on
)
on track.write_key to insights_admin;
grant select on track.write_key_log, track.refusal_sample, track.name_log, track.forgotten_import,
  track.forgotten_item, track.imported_item
to insights_admin;
grant select on track.renamed_month, track.named_item, track.named_prerequisite to insights_admin, insights_worker;
grant select on track.found_data, track.disallowed_month to insights_admin, insights_worker;
grant select on track.refusal to insights_analyst, insights_admin, insights_worker;
grant update (description, path_rule, kept_parameters) on track.source to insights_admin;

grant select on track.stale, track.changed, track.automatic_period
to insights_reader, insights_learner, insights_admin, insights_worker;

grant select on
  track.step, track.presence, track.item_month, track.item_day, track.item_transition, track.stale_transition_month,
  track.course_presence, track.stale_course
to insights_reader, insights_admin, insights_worker;

grant select on track.declared_property to insights_reader, insights_analyst, insights_admin, insights_worker;
grant select on track.stale_property, track.property_value, track.step_value, track.value_presence
to insights_reader, insights_admin, insights_worker;

grant select on track.rollup_check to insights_admin, insights_worker;

grant select on track.person_set to insights_reader, insights_analyst, insights_admin, insights_worker;
grant select on track.person_set_member, track.person_set_block, track.exclusion
to insights_reader, insights_admin, insights_worker;

drop policy if exists all_rows on track.item;
create policy all_rows on track.item for select using (true);
drop policy if exists all_rows on track.rollup_check;
create policy all_rows on track.rollup_check for select using (true);
drop policy if exists all_rows on track.declared_property;
create policy all_rows on track.declared_property for select using (true);
drop policy if exists all_rows on track.item_ancestor;
create policy all_rows on track.item_ancestor for select using (true);
drop policy if exists all_rows on track.former_parent;
create policy all_rows on track.former_parent for select using (true);
drop policy if exists all_rows on track.prerequisite;
create policy all_rows on track.prerequisite for select using (true);
drop policy if exists all_rows on track.event_type;
create policy all_rows on track.event_type for select using (true);
drop policy if exists admins_change on track.event_type;
create policy admins_change on track.event_type for update to insights_admin using (true);
drop policy if exists all_rows on track.setting;
create policy all_rows on track.setting for select using (true);
drop policy if exists admins_change on track.setting;
create policy admins_change on track.setting for update to insights_admin using (true);
drop policy if exists all_rows on track.placeholder_id;
create policy all_rows on track.placeholder_id for select using (true);
drop policy if exists admins_insert on track.placeholder_id;
create policy admins_insert on track.placeholder_id for insert to insights_admin with check (true);
drop policy if exists admins_delete on track.placeholder_id;
create policy admins_delete on track.placeholder_id for delete to insights_admin using (true);
drop policy if exists all_rows on track.source;
create policy all_rows on track.source for select using (true);
drop policy if exists admins_change on track.source;
create policy admins_change on track.source for update to insights_admin using (true);
drop policy if exists all_rows on track.write_key;
create policy all_rows on track.write_key for select using (true);
drop policy if exists all_rows on track.write_key_log;
create policy all_rows on track.write_key_log for select using (true);
drop policy if exists all_rows on track.refusal;
create policy all_rows on track.refusal for select using (true);
drop policy if exists all_rows on track.refusal_sample;
create policy all_rows on track.refusal_sample for select using (true);
drop policy if exists all_rows on track.found_data;
create policy all_rows on track.found_data for select using (true);
drop policy if exists all_rows on track.disallowed_month;
create policy all_rows on track.disallowed_month for select using (true);
drop policy if exists all_rows on track.name_log;
create policy all_rows on track.name_log for select using (true);
drop policy if exists all_rows on track.forgotten_import;
create policy all_rows on track.forgotten_import for select using (true);
drop policy if exists all_rows on track.forgotten_item;
create policy all_rows on track.forgotten_item for select using (true);
drop policy if exists all_rows on track.imported_item;
create policy all_rows on track.imported_item for select using (true);
drop policy if exists all_rows on track.renamed_month;
create policy all_rows on track.renamed_month for select using (true);
drop policy if exists all_rows on track.named_item;
create policy all_rows on track.named_item for select using (true);
drop policy if exists all_rows on track.named_prerequisite;
create policy all_rows on track.named_prerequisite for select using (true);
drop policy if exists all_rows on track.consumer;
create policy all_rows on track.consumer for select using (true);
drop policy if exists all_rows on track.person_set;
create policy all_rows on track.person_set for select using (true);
drop policy if exists all_people on track.person_set_member;
create policy all_people on track.person_set_member for select to insights_reader, insights_admin, insights_worker
using (true);
drop policy if exists all_people on track.person_set_block;
create policy all_people on track.person_set_block for select to insights_reader, insights_admin, insights_worker
using (true);
drop policy if exists all_people on track.exclusion;
create policy all_people on track.exclusion for select to insights_reader, insights_admin, insights_worker
using (true);

/*
 * The person is a setting of the transaction, which track.sign_in() makes, and not a lookup in a table, because
 * policies of distributed tables cannot read other tables. Person 0 holds anonymized events; no one can sign in as it.
 */
do $$
declare
  v_table text;
begin
  foreach v_table in array array[
    'person', 'identity', 'trait', 'trait_history', 'enrolment', 'item_role', 'event', 'session', 'automatic_period',
    'step', 'stale', 'changed', 'step_value', 'stale_property'
  ]
  loop
    execute format('drop policy if exists own on track.%I', v_table);
    execute format(
      $policy$
      create policy own on track.%I for select to insights_learner
      using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint)
      $policy$,
      v_table
    );
    execute format('drop policy if exists all_people on track.%I', v_table);
    execute format(
      $policy$
      create policy all_people on track.%I for select to insights_reader, insights_admin, insights_worker
      using (true)
      $policy$,
      v_table
    );
  end loop;
end;
$$;

do $$
declare
  v_table text;
begin
  foreach v_table in array array[
    'presence', 'item_month', 'item_day', 'item_transition', 'stale_transition_month', 'course_presence',
    'stale_course', 'property_value', 'value_presence'
  ]
  loop
    execute format('drop policy if exists all_people on track.%I', v_table);
    execute format(
      $policy$
      create policy all_people on track.%I for select to insights_reader, insights_admin, insights_worker
      using (true)
      $policy$,
      v_table
    );
  end loop;
end;
$$;

drop policy if exists own on track.identity_link;
create policy own on track.identity_link for select to insights_learner
using (
  linked_identity_id in (
    select identity_id
    from track.identity
    where person_id <> 0
      and person_id = nullif(current_setting('insights.person_id', true), '')::bigint
  )
);
drop policy if exists all_people on track.identity_link;
create policy all_people on track.identity_link for select to insights_reader, insights_admin, insights_worker
using (true);

drop policy if exists own on privacy.consent;
create policy own on privacy.consent for select to insights_learner
using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint);
drop policy if exists own on privacy.person_age;
create policy own on privacy.person_age for select to insights_learner
using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint);

/* Only functions write and read statements and documents, for the source that sent them; administrators read them. */
grant select on track.statement, track.statement_attachment, track.client_document to insights_admin;

drop policy if exists all_people on track.statement;
create policy all_people on track.statement for select to insights_admin using (true);
drop policy if exists all_people on track.statement_attachment;
create policy all_people on track.statement_attachment for select to insights_admin using (true);
drop policy if exists all_people on track.client_document;
create policy all_people on track.client_document for select to insights_admin using (true);
