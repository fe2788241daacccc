create or replace function track._message_text(
  properties jsonb,
  traits jsonb,
  item text,
  item_url text,
  event_name text
)
returns text
language sql
stable
parallel safe
return concat_ws(' ', properties::text, traits::text, item, item_url, event_name);

comment on function track._message_text(jsonb, jsonb, text, text, text) is $$
Returns the contents of a message as one text.
$$;

create or replace function track._suspects(messages track.parsed_message[], contents text)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- All together first: the start of the search takes longer than a message.
  if track._may_hold_contacts(
    coalesce(
      contents,
      (
        select string_agg(
          track._message_text(
            message.properties, message.traits, message.item, message.item_url, message.event_name
          ),
          ' '
        )
        from unnest(messages) as message
      )
    )
  ) is not true
  then
    return '{}';
  end if;
  return array(
    select entry.place
    from (
      select
        message.ordinality as place,
        track._message_text(
          message.properties, message.traits, message.item, message.item_url, message.event_name
        ) as content
      from unnest(messages) with ordinality as message
      where message.event_name is distinct from 'Segment Consent Preference Updated'
    ) as entry
    -- The first is true for all that the second finds, and faster.
    where entry.content
        ~ '@|%40|\+\(?[1-9]|%2[Bb]|[0-9][-. )/\u00a0\u202f]+\(?[0-9]|[eldnypxro]["=:. ]{1,3}[("+]{0,2}[0-9]'
      and track._may_hold_contacts(entry.content)
  );
end;
$$;

comment on function track._suspects(track.parsed_message[], text) is $$
Returns the places of the messages that may contain an e-mail address or a phone number, from 1.
`contents`: the texts of the messages together (`track._message_text`), if they are known.
$$;
