create or replace function track._masked_messages(
  messages track.parsed_message[],
  places bigint[],
  exempt_traits text[]
)
returns track.parsed_message[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_messages track.parsed_message[] := messages;
  v_message track.parsed_message;
  v_masked record;
begin
  for v_masked in
    select
      named.place,
      track._mask_word(message.event_name, true) as event_name,
      track._mask_contacts(message.properties, '{}') as properties,
      track._mask_contacts(message.traits, exempt_traits) as traits,
      -- The id of an item that a property gives may consist of groups of digits, the path of a page may not.
      track._mask_word(message.item, (message.properties ? 'item') is not true) as item,
      track._mask_word(message.item_parent, false) as item_parent,
      track._mask_word(message.item_title, true) as item_title,
      track._mask_word(message.item_url, true) as item_url
    from unnest(places) as named (place)
    cross join lateral unnest(messages[named.place:named.place]) as message
  loop
    v_message := v_messages[v_masked.place];
    v_message.event_name := v_masked.event_name;
    v_message.properties := v_masked.properties;
    v_message.traits := v_masked.traits;
    v_message.item := v_masked.item;
    v_message.item_parent := v_masked.item_parent;
    v_message.item_title := v_masked.item_title;
    v_message.item_url := v_masked.item_url;
    v_messages[v_masked.place] := v_message;
  end loop;
  return v_messages;
end;
$$;

comment on function track._masked_messages(track.parsed_message[], bigint[], text[]) is $$
Returns the messages, those at `places` with `[e-mail]` and `[phone]` in place of e-mail addresses and phone numbers.
$$;
