create or replace function track._store_consent(messages track.parsed_message[], identities bigint[], people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_named text[];
begin
  -- A grant of a browser that was linked before does not bind the person.
  v_named := array(
    select distinct message.external_id
    from unnest(messages) with ordinality as message
    join track.identity as key on key.identity_id = people[message.ordinality]
    where message.event_name = 'Segment Consent Preference Updated'
      and message.identity_kind = 'anonymous'
      and key.kind = 'user'
      and jsonb_path_exists(message.preferences, '$.* ? (@ == true)')
  );
  perform track._enter_people(array_fill('unverified'::text, array[cardinality(v_named)]), v_named);

  perform privacy.record_decisions(
    array_agg(decided.person_id), array_agg(decided.identity_id), array_agg(purpose.purpose),
    array_agg(preference.value::boolean), array_agg(message.occurred_at), 'event', array_agg(message.properties),
    array_agg(message.external_id), array_agg(left(message.properties ->> 'consentVersion', 200))
  )
  from unnest(messages) with ordinality as message
  cross join lateral jsonb_each(
    case jsonb_typeof(message.preferences) when 'object' then message.preferences end
  ) as preference
  join privacy.purpose on purpose.purpose = preference.key
  cross join lateral (
    select identity.identity_id, identity.person_id
    from track.identity
    where identity.identity_id = identities[message.ordinality]
      and not (
        message.identity_kind = 'anonymous' and preference.value = 'true' and message.external_id = any (v_named)
      )

    union all

    select identity.identity_id, identity.person_id
    from track.identity
    where identity.external_id = message.external_id
      and identity.kind = 'unverified'
      and message.identity_kind = 'anonymous'
      and preference.value = 'true'
      and message.external_id = any (v_named)

    union all

    -- A refusal counts for the person of the browser also without proof.
    select identity.identity_id, identity.person_id
    from track.identity
    where identity.identity_id = track._browser_identity(message.external_id, message.occurred_at)
      and message.identity_kind = 'unverified'
      and preference.value = 'false'
  ) as decided
  where message.event_name = 'Segment Consent Preference Updated'
    and jsonb_typeof(preference.value) = 'boolean'
  having count(*) > 0;
end;
$$;

comment on function track._store_consent(track.parsed_message[], bigint[], bigint[]) is $$
Stores the decisions of messages, with the properties of the message as evidence.
A grant under the `anonymousId` of a person is stored for the identity of kind `unverified`; a refusal for both.
$$;
