create or replace function track._contacts_of(message track.parsed_message, exempt_traits text[])
returns setof track.finding
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select finding.*
  from track._find_contacts(message.event_name, 'properties', message.properties, '{}') as finding
  union all
  select finding.*
  from track._find_contacts(message.event_name, 'traits', message.traits, exempt_traits) as finding
  union all
  select finding.*
  from track._find_contacts(
    -- The name of a new event type may be personal itself.
    track._mask_word(message.event_name, true), 'message', jsonb_build_object('event', message.event_name), '{}'
  ) as finding;
  -- The page in the context of a message. Otherwise the item is the one that a property names.
  if not found then
    return query
    select finding.*
    from track._find_contacts(
      message.event_name, 'context',
      jsonb_build_object(
        case when message.properties ? 'item' then 'item' else 'page' end,
        concat_ws(' ', message.item, message.item_url)
      ),
      '{}'
    ) as finding;
  end if;
end;
$$;

comment on function track._contacts_of(track.parsed_message, text[]) is $$
Returns the e-mail addresses and phone numbers that a message contains, by path and kind, as numbers.
Not in its ids, and not in the traits `exempt_traits`.
$$;
