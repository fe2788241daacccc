create or replace function track._ask_consent(messages track.parsed_message[])
returns track.parsed_message[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_messages track.parsed_message[] := messages;
  v_message track.parsed_message;
  v_withheld track.withheld_message;
  v_place int;
begin
  -- A decision needs no consent, and so carries nothing else: a person who refuses would leave a page or a trait.
  for v_place in
    select message.ordinality
    from unnest(messages) with ordinality as message
    where message.event_name = 'Segment Consent Preference Updated'
      and num_nonnulls(message.item, message.item_parent, message.traits) > 0
  loop
    v_message := v_messages[v_place];
    v_message.item := null;
    v_message.item_kind := null;
    v_message.item_title := null;
    v_message.item_parent := null;
    v_message.item_url := null;
    v_message.traits := null;
    v_messages[v_place] := v_message;
  end loop;

  -- Few or none, as a rule, so that the others are not copied.
  for v_withheld in
    select withheld.* from track._withheld_messages(messages) as withheld
  loop
    v_message := v_messages[v_withheld.position + 1];
    if v_withheld.is_refused then
      v_message.problem := row(
        'CF005',
        format('the person has not agreed to "%s"', v_withheld.purpose),
        'Ask first, and say so in context.consent.categoryPreferences or by privacy.record_consent.'
      );
    else
      v_message.identity_kind := 'none';
      v_message.external_id := 'none';
      v_message.anonymous_id := null;
      v_message.previous_id := null;
      v_message.properties := null;
      v_message.client_at := null;
      v_message.traits := null;
      v_message.preferences := null;
      -- A name that is new may identify the person, such as the path of a page.
      if not exists (select from track.item where item.external_id = v_message.item) then
        v_message.item := null;
      end if;
      if not exists (select from track.event_type where event_type.name = v_message.event_name) then
        v_message.event_name := case when v_message.event_name is not null then 'Other Event' end;
      end if;
      v_message.item_kind := null;
      v_message.item_title := null;
      v_message.item_parent := null;
      v_message.item_url := null;
    end if;
    v_messages[v_withheld.position + 1] := v_message;
  end loop;
  return v_messages;
end;
$$;

comment on function track._ask_consent(track.parsed_message[]) is $$
Returns the messages after the check of consent.
A message whose person has not agreed to its purpose is rejected (CF005) or anonymized, as `privacy.purpose`
specifies. An anonymized message creates no identity, item or event type, and a decision no item or trait.
$$;
