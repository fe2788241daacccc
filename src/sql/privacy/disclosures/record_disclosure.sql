create or replace function privacy.record_disclosure(people bigint[], function_name text)
returns void
language plpgsql
volatile
-- A definer: it writes privacy.disclosure, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_author constant text := common.author();
  v_role constant text := privacy._reader_role();
  v_reason text;
  -- The person of a request to the API. Other logins could set any person, and read her record without a log.
  v_reader constant bigint := case when pg_has_role(session_user, 'insights_api', 'member') then
    nullif(current_setting('insights.person_id', true), '')::bigint
  end;
  v_function constant text := (select setting.held_names_function from privacy.setting);
  v_identities bigint[];
  v_names text[];
  v_read_id bigint;
begin
  -- The scheduled jobs of the system, and services that act for the person, disclose nothing to another person.
  if current_setting('role') = 'insights_worker' then
    return;
  end if;
  v_reason := privacy._read_reason(record_disclosure.function_name);

  -- The erasure of a person waits for the end of the transaction, and then deletes the row, too.
  execute format(
    'select array_agg(held.identity_id), array_agg(held.name) from %I.%I($1) as held',
    split_part(v_function, '.', 1), split_part(v_function, '.', 2)
  )
  into v_identities, v_names
  using array(
    select distinct entry.person_id
    from unnest(record_disclosure.people) as entry (person_id)
    where entry.person_id <> 0
      and entry.person_id is distinct from v_reader
  );
  if v_identities is null then
    return;
  end if;
  v_read_id := nextval('privacy.read_id');
  insert into privacy.disclosure (read_id, identity_id, subject_name, read_by, role, function_name, reason)
  select
    v_read_id, held.identity_id, held.name, v_author, v_role, record_disclosure.function_name, v_reason
  from unnest(v_identities, v_names) as held (identity_id, name);
end;
$$;

comment on function privacy.record_disclosure(bigint[], text) is $$
@behavior -*
Records that the caller reads the records of people, in `privacy.disclosure`: for the functions that return them.
Called before the rows are returned, in the same transaction. `people`: their keys; unknown people (null), anonymised
events (person 0) and the caller herself are left out. The reason is the setting `insights.read_reason` of the
transaction. Reads in the role `insights_worker` are not recorded: those of scheduled jobs, and of services that act
for the person.
Errors: CF005 in a read-only transaction, and without a reason where `privacy.setting.needs_read_reason` is set; CF008
for a reason of more than 200 characters.
$$;

grant execute on function privacy.record_disclosure(bigint[], text) to insights_reader;
