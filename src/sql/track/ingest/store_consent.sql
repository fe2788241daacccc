create or replace function track._store_consent(messages track.parsed_message[], identities bigint[], people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform privacy.record_decisions(
    array_agg(people[message.ordinality]), array_agg(identities[message.ordinality]), array_agg(purpose.purpose),
    array_agg(preference.value::boolean), array_agg(message.occurred_at), 'event', array_agg(message.properties)
  )
  from unnest(messages) with ordinality as message
  cross join lateral jsonb_each(
    case jsonb_typeof(message.preferences) when 'object' then message.preferences end
  ) as preference
  join privacy.purpose on purpose.purpose = preference.key
  where message.event_name = 'Segment Consent Preference Updated'
    and jsonb_typeof(preference.value) = 'boolean'
  having count(*) > 0;
end;
$$;

comment on function track._store_consent(track.parsed_message[], bigint[], bigint[]) is $$
Stores the decisions of messages, with the properties of the message as evidence.
$$;
