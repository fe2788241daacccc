create or replace function track._refuse_contents(messages track.parsed_message[], sender track.message_sender)
returns track.parsed_message[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_messages track.parsed_message[] := messages;
  v_message track.parsed_message;
  v_place bigint;
  v_finding record;
begin
  if sender.bots = 'refuse' then
    for v_place in
      select message.ordinality
      from unnest(messages) with ordinality as message
      where num_nonnulls(message.user_agent, message.agent_hints) > 0
        and message.problem is null
        and (track._agent(message.user_agent, message.agent_hints)).is_bot
    loop
      v_message := v_messages[v_place];
      v_message.problem := row(
        'CF005', 'the user agent of the message is that of a bot',
        'Messages of programs are refused here (track.setting.bots).'
      );
      v_messages[v_place] := v_message;
    end loop;
  end if;

  if sender.personal_data = 'refuse' then
    for v_finding in
      select distinct on (contact.place) contact.*
      from track._contacts_of(messages, track._suspects(messages, null), sender.contact_traits) as contact
      order by contact.place, contact.property, contact.kind
    loop
      v_message := v_messages[v_finding.place];
      if v_message.problem is null then
        v_message.problem := row(
          'CF001',
          format(
            '"%s" contains %s', left(v_finding.property, 100),
            case v_finding.kind when 'phone' then 'a phone number' else 'an e-mail address' end
          ),
          'Leave it out: messages with contact data of people are refused here (track.setting.personal_data).'
        );
        v_messages[v_finding.place] := v_message;
      end if;
    end loop;
  end if;
  return v_messages;
end;
$$;

comment on function track._refuse_contents(track.parsed_message[], track.message_sender) is $$
Refuses messages of bots (CF005) and with contact data (CF001), where the settings say so.
$$;
