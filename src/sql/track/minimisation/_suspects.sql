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
-- A number is preceded by a character: see `track._may_hold_contacts`.
return concat_ws(' ', '', properties::text, traits::text, item, item_url, event_name);

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
  -- Then in groups, and one by one in those that may contain something.
  return array(
    with entry as materialized (
      select
        message.ordinality as place,
        track._message_text(
          message.properties, message.traits, message.item, message.item_url, message.event_name
        ) as content
      from unnest(messages) with ordinality as message
      where message.event_name is distinct from 'Segment Consent Preference Updated'
    ),

    suspicious as (
      select entry.place / 16 as part
      from entry
      group by 1
      having track._may_hold_contacts(string_agg(entry.content, ''))
    )

    select entry.place
    from entry
    join suspicious on suspicious.part = entry.place / 16
    where track._may_hold_contacts(entry.content)
    order by entry.place
  );
end;
$$;

comment on function track._suspects(track.parsed_message[], text) is $$
Returns the places of the messages that may contain an e-mail address or a phone number, from 1.
`contents`: the texts of the messages together (`track._message_text`), if they are known.
$$;
