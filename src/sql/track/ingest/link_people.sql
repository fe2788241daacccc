create or replace function track._link_people_of(messages track.parsed_message[], also_locked bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_identities bigint[];
  v_linked_identities bigint[];
  v_kinds text[];
  v_linked_at timestamptz[];
begin
  with said as materialized (
    select
      message.position, message.type, message.occurred_at, message.anonymous_id, message.previous_id,
      identity.identity_id as linked_identity_id
    from unnest(messages) as message
    join track.identity on identity.external_id = message.external_id and identity.kind = message.identity_kind
    where message.type in ('identify', 'alias')
  ),

  named as (
    select said.position, said.type, said.occurred_at, said.linked_identity_id, other.identity_id
    from said
    join track.identity as other on other.external_id = said.anonymous_id and other.kind = 'anonymous'
    where said.type = 'identify'

    union all

    select said.position, said.type, said.occurred_at, said.linked_identity_id, other.identity_id
    from said
    join track.identity as other on other.external_id = said.previous_id and other.kind <> 'none'
    where said.type = 'alias'
  )

  select
    array_agg(named.identity_id order by named.position, named.identity_id),
    array_agg(named.linked_identity_id order by named.position, named.identity_id),
    array_agg(named.type order by named.position, named.identity_id),
    array_agg(named.occurred_at order by named.position, named.identity_id)
  into v_identities, v_linked_identities, v_kinds, v_linked_at
  from named
  where named.identity_id <> named.linked_identity_id
    and not track._is_linked(named.identity_id, named.linked_identity_id, named.occurred_at);

  if v_identities is not null then
    perform track._link_people(v_identities, v_linked_identities, v_kinds, v_linked_at, also_locked);
  end if;
end;
$$;

comment on function track._link_people_of(track.parsed_message[], bigint[]) is $$
Creates the links of `identify` and `alias` messages; `also_locked` as for `track._link_people`.
$$;
