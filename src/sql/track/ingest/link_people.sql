create or replace function track._said_links(messages track.parsed_message[])
returns table (
  "position" int, identity_id bigint, linked_identity_id bigint, kind text, linked_at timestamptz, is_known boolean
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
begin
  return query
  with said as materialized (
    select
      message.position, message.type, message.occurred_at, message.is_claim,
      case message.type when 'identify' then message.anonymous_id else message.previous_id end as name,
      person.identity_id as linked_identity_id
    from unnest(messages) as message
    join track.identity as person on person.external_id = message.external_id and person.kind = message.identity_kind
    where message.type in ('identify', 'alias')
      and message.identity_kind = 'user'
  ),

  browser as materialized (
    select
      said.position, said.name, said.linked_identity_id, said.occurred_at,
      case when said.is_claim then 'claim' else said.type end as kind,
      (
        select identity.identity_id
        from track.identity
        where identity.external_id = said.name
          and identity.kind = 'anonymous'
          and identity.user_identity_id = said.linked_identity_id
          and (
            identity.identity_id = track._browser_identity(said.name, said.occurred_at)
            or exists (
              select
              from track.identity_link as link
              where link.identity_id = identity.identity_id
                and link.linked_identity_id = said.linked_identity_id
                and link.linked_at = said.occurred_at
                and link.kind <> 'claim'
                and link.unlinked_at is null
            )
          )
      ) as own_id,
      first.identity_id as any_id
    from said
    join track.identity as first on first.external_id = said.name and first.kind = 'anonymous' and first.branch = 0
    where not exists (
      select
      from track.identity as sibling
      join track.identity_link as link on link.identity_id = sibling.identity_id
      where sibling.external_id = said.name
        and sibling.kind = 'anonymous'
        and link.linked_identity_id = said.linked_identity_id
        and link.unlinked_at >= said.occurred_at
    )
  )

  select
    browser.position, coalesce(browser.own_id, browser.any_id), browser.linked_identity_id, browser.kind,
    browser.occurred_at,
    browser.kind = 'claim' or browser.own_id is not null
  from browser

  union all

  select said.position, other.identity_id, said.linked_identity_id, said.type, said.occurred_at, false
  from said
  join track.identity as other on other.external_id = said.name and other.kind = 'user'
  where said.type = 'alias'
    and other.identity_id <> said.linked_identity_id
    and not track._is_linked(other.identity_id, said.linked_identity_id, said.occurred_at);
end;
$$;

comment on function track._said_links(track.parsed_message[]) is $$
Returns the links of `identify` and `alias` messages that are not stored.
`is_known`: the browser belongs to the user at that time already, or the link is a claim, so that storing it moves
nothing.
$$;

create or replace function track._link_people_of(messages track.parsed_message[], also_locked bigint[])
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
declare
  v_identities bigint[];
  v_linked_identities bigint[];
  v_kinds text[];
  v_linked_at timestamptz[];
  v_is_complete boolean;
begin
  -- Most links are known, such as those of a client that identifies with each page. Storing them locks no person.
  if (select coalesce(bool_and(said.is_known), true) from track._said_links(messages) as said) then
    begin
      v_is_complete := track.lock_identities(also_locked);
      if (select coalesce(bool_and(said.is_known), true) from track._said_links(messages) as said) then
        perform track._store_known_links(messages);
        return v_is_complete;
      end if;
      perform common.refuse('CF099', 'a browser was linked to another user concurrently');
    exception
      -- The error releases the locks. They must not be in a sub-transaction of this one: those that wait for a lock of
      -- a finished sub-transaction wait for the end of the whole transaction.
      when sqlstate 'CF099' then null;
    end;
  end if;

  select
    array_agg(said.identity_id order by said.position, said.identity_id),
    array_agg(said.linked_identity_id order by said.position, said.identity_id),
    array_agg(said.kind order by said.position, said.identity_id),
    array_agg(said.linked_at order by said.position, said.identity_id)
  into v_identities, v_linked_identities, v_kinds, v_linked_at
  from track._said_links(messages) as said
  where said.kind <> 'claim';
  if v_identities is not null then
    perform track._link_people(v_identities, v_linked_identities, v_kinds, v_linked_at, also_locked);
  end if;

  -- The persons of the identities must not change from here to the end of the transaction.
  v_is_complete := track.lock_identities(also_locked);
  perform track._store_known_links(messages);
  return v_is_complete;
end;
$$;

comment on function track._link_people_of(track.parsed_message[], bigint[]) is $$
Creates the links of `identify` and `alias` messages, then locks the identities `also_locked`.
False when one of these does not exist any more.
$$;

create or replace function track._store_known_links(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.identity_link (identity_id, linked_identity_id, kind, linked_at)
  select distinct on (said.identity_id, said.linked_identity_id, said.linked_at)
    said.identity_id, said.linked_identity_id, said.kind, said.linked_at
  from track._said_links(messages) as said
  where said.is_known
  order by said.identity_id, said.linked_identity_id, said.linked_at, said.position
  on conflict on constraint identity_link_pkey do nothing;
end;
$$;

comment on function track._store_known_links(track.parsed_message[]) is $$
Stores the links of messages that move nothing.
$$;
