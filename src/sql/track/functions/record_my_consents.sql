create or replace function track.record_my_consents(
  granted boolean,
  purposes text[] default null,
  document_version text default null
)
returns setof privacy.consent
language plpgsql
volatile
-- A definer: it writes privacy.consent, which no role may write, for the signed-in person only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_name constant text := nullif(current_setting('insights.person', true), '');
  v_person_id bigint := track.current_person_id();
begin
  if v_name is null then
    perform common.refuse('CF005', 'no person is signed in', 'Sign in first: a decision belongs to a person.');
  end if;
  if track._names_nobody(v_name) then
    perform common.refuse('CF005', format('"%s" is signed in, which names nobody', left(v_name, 100)),
      'Sign in with the userId of a person.');
  end if;
  -- The decision may be the first request of a person, also of one who was erased.
  if v_person_id is null then
    if record_my_consents.granted then
      perform privacy.lift_suppression(array['user'], array[v_name], clock_timestamp());
    elsif exists (
      select
      from privacy.suppressed(array['user'], array[v_name]) as suppressed
      where suppressed.lifted_at is null
    ) then
      perform common.refuse('CF005', format('the data of "%s" was erased', left(v_name, 100)),
        'Nothing is stored under this name, so that there is nothing to refuse.');
    end if;
    perform track._enter_people(array['user'], array[v_name]);
    -- The rest of the transaction reads the rows of this person.
    v_person_id := track.sign_in();
  end if;
  return query
  select recorded.*
  from privacy.record_consents(
    v_person_id, record_my_consents.granted, record_my_consents.purposes, now(), record_my_consents.document_version,
    identity_id => (
      select identity.identity_id
      from track.identity
      where identity.external_id = v_name
        and identity.kind = 'user'
        and identity.person_id = v_person_id
    )
  ) as recorded;
end;
$$;

comment on function track.record_my_consents(boolean, text[], text) is $$
Records the same decision of the signed-in person about several purposes; null: all that she can decide about.
`record_my_consents(false)` withdraws everything, as easily as `record_my_consents(true)` grants it (GDPR article 7).
Errors: those of `track.record_my_consent`.
$$;

grant execute on function track.record_my_consents(boolean, text[], text) to insights_learner;
