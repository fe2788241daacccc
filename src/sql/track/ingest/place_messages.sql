create or replace function track._named_identities(messages track.parsed_message[])
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select identity.identity_id
    from (
      select message.external_id, message.identity_kind
      from unnest(messages) as message

      union

      select coalesce(message.previous_id, message.anonymous_id), 'anonymous'
      from unnest(messages) as message
      where message.type in ('identify', 'alias')

      union

      select message.external_id, 'anonymous'
      from unnest(messages) as message
      where message.identity_kind = 'unverified'
    ) as named (external_id, kind)
    join track.identity on identity.external_id = named.external_id and identity.kind = named.kind
  );
end;
$$;

comment on function track._named_identities(track.parsed_message[]) is $$
Returns the identities for which messages store data or links.
$$;

create or replace function track._place_messages(
  messages track.parsed_message[],
  has_browsers boolean,
  out identities bigint[],
  out people bigint[]
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Browsers that several people have used. The others have one identity, whatever the time of the message.
  v_shared text[] := '{}';
begin
  if has_browsers then
    v_shared := array(
      select distinct identity.external_id
      from (
        select distinct message.external_id
        from unnest(messages) as message
        where message.identity_kind = 'anonymous'
      ) as named
      join track.identity on identity.external_id = named.external_id and identity.kind = 'anonymous'
      where identity.branch <> 0
    );
  end if;
  select
    array_agg(identity.identity_id order by message.ordinality),
    array_agg(identity.person_id order by message.ordinality)
  into _place_messages.identities, _place_messages.people
  from unnest(messages) with ordinality as message
  join track.identity
    on identity.external_id = message.external_id
    and identity.kind = message.identity_kind
  where v_shared = '{}'
    or message.identity_kind <> 'anonymous'
    or message.external_id <> all (v_shared)
    or identity.identity_id = track._browser_identity(message.external_id, message.occurred_at);
end;
$$;

comment on function track._place_messages(track.parsed_message[], boolean) is $$
Returns the identity and the person of each message, in the order of the messages. All names are entered and locked.
`has_browsers`: whether a message may have an `anonymousId` only.
$$;
