create or replace function track._masked_message(message track.parsed_message, exempt_traits text[])
returns track.parsed_message
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_masked track.parsed_message := message;
  -- The id of an item that a property gives may consist of groups of digits, the path of a page may not.
  v_is_path constant boolean := (message.properties ? 'item') is not true;
begin
  v_masked.event_name := track._mask_word(message.event_name, true);
  v_masked.properties := track._mask_contacts(message.properties, '{}');
  v_masked.traits := track._mask_contacts(message.traits, exempt_traits);
  v_masked.item := track._mask_word(message.item, v_is_path);
  v_masked.item_parent := track._mask_word(message.item_parent, false);
  v_masked.item_title := track._mask_word(message.item_title, true);
  v_masked.item_url := track._mask_word(message.item_url, true);
  return v_masked;
end;
$$;

comment on function track._masked_message(track.parsed_message, text[]) is $$
Returns a message with `[e-mail]` and `[phone]` in place of e-mail addresses and phone numbers.
$$;
