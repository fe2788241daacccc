create or replace function track._store_consent(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- A clock that runs ahead must not outlast the decisions that come after.
  insert into privacy.consent (person_id, identity_id, purpose, granted, decided_at, source, evidence)
  select
    identity.person_id, identity.identity_id, purpose.purpose, preference.value::boolean,
    least(message.occurred_at, now()), 'event', message.properties
  from unnest(messages) as message
  join track.identity on identity.external_id = message.external_id and identity.kind = message.identity_kind
  cross join lateral jsonb_each(
    case jsonb_typeof(message.preferences) when 'object' then message.preferences end
  ) as preference
  join privacy.purpose on purpose.purpose = preference.key
  where message.event_name = 'Segment Consent Preference Updated'
    and jsonb_typeof(preference.value) = 'boolean';
end;
$$;

comment on function track._store_consent(track.parsed_message[]) is $$
Records the decisions that messages report, with the properties of the message as evidence.
$$;
