create or replace function track._suspects(messages track.parsed_message[])
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- All together first: the start of the search takes longer than a message.
  if (
    select track._may_hold_contacts(
      string_agg(
        concat_ws(
          ' ', message.properties::text, message.traits::text, message.item, message.item_url, message.event_name
        ),
        ' '
      )
    )
    from unnest(messages) as message
  ) is not true
  then
    return '{}';
  end if;
  return array(
    select message.ordinality
    from unnest(messages) with ordinality as message
    where message.event_name is distinct from 'Segment Consent Preference Updated'
      -- The first is true for all that the second finds, and faster.
      and concat_ws(
        ' ', message.properties::text, message.traits::text, message.item, message.item_url, message.event_name
      ) ~ '@|%40|\+\(?[1-9]|%2[Bb]|[0-9][-. )/\u00a0\u202f]+\(?[0-9]|[eldnypxro]["=:. ]{1,3}[("+]{0,2}[0-9]'
      and track._may_hold_contacts(
        concat_ws(
          ' ', message.properties::text, message.traits::text, message.item, message.item_url, message.event_name
        )
      )
  );
end;
$$;

comment on function track._suspects(track.parsed_message[]) is $$
Returns the places of the messages that may contain an e-mail address or a phone number, from 1.
$$;
