create or replace function track.record_my_consent(purpose text, granted boolean, document_version text default null)
returns privacy.consent
language plpgsql
volatile
-- A definer: it writes privacy.consent, which no role may write, and for the caller's own person only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_name constant text := nullif(current_setting('insights.person', true), '');
  v_person_id bigint := track.current_person_id();
begin
  if v_name is null then
    perform common.refuse('CF005', 'nobody is signed in', 'Sign in first: a decision belongs to a person.');
  end if;
  -- The decision may be the first thing that is heard of a person.
  if v_person_id is null then
    perform track._enter_people(array['user'], array[v_name]);
    -- What the rest of the transaction reads is theirs.
    v_person_id := track.sign_in();
  end if;
  return privacy.record_consent(v_person_id, record_my_consent.purpose, record_my_consent.granted, now(), record_my_consent.document_version, null);
end;
$$;

comment on function track.record_my_consent(text, boolean, text) is $$
Records what the signed-in person decided about a purpose: to withdraw is as easy as to agree (GDPR article 7).
Errors: CF005 when nobody is signed in, CF002 for an unknown purpose.
$$;

grant execute on function track.record_my_consent(text, boolean, text) to insights_learner;
