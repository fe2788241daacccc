create or replace function track._enter_people(kinds text[], external_ids text[], browsers uuid[] default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_entered bigint[];
begin
  with named as (
    select distinct on (name.kind, name.external_id) name.kind, name.external_id, name.browser
    from unnest(_enter_people.kinds, _enter_people.external_ids, _enter_people.browsers)
      with ordinality as name (kind, external_id, browser)
    order by name.kind, name.external_id, name.ordinality
  ),

  numbered as materialized (
    select kind, external_id, browser, nextval('track.identity_identity_id_seq') as identity_id
    from named
    where not exists (
      select
      from track.identity
      where identity.external_id = named.external_id
        and identity.kind = named.kind
    )
    order by external_id, kind
  ),

  entered as (
    insert into track.identity (identity_id, kind, external_id, person_id, browser)
    overriding system value
    select
      identity_id, kind, external_id, identity_id, case kind when 'anonymous' then browser end
    from numbered
    order by external_id, kind
    on conflict (external_id, kind, branch) do nothing
    returning person_id
  ),

  stored as (
    insert into track.person (person_id)
    select person_id
    from entered
  )

  select array_agg(person_id) into v_entered
  from entered;
  if v_entered is not null then
    perform track._enqueue('identity', v_entered);
  end if;
end;
$$;

comment on function track._enter_people(text[], text[], uuid[]) is $$
Inserts new identities, each with a person of its own, and queues these people for the refresh.
`browsers`: for each name the hash of the cookie of the calling browser, or null. The first one of a name applies.
$$;

create or replace function track._enter_people_of(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kinds text[];
  v_external_ids text[];
  v_browsers uuid[];
begin
  -- None, as a rule.
  select
    array_agg(named.kind order by named.position), array_agg(named.external_id order by named.position),
    array_agg(named.browser order by named.position)
  into v_kinds, v_external_ids, v_browsers
  from (
    select message.identity_kind as kind, message.external_id, message.browser, message.position
    from unnest(messages) as message

    union all

    select 'anonymous', message.anonymous_id, message.browser, message.position
    from unnest(messages) as message
    where message.type = 'identify' and message.anonymous_id is not null

    union all

    -- An alias may come before any message of the name that it replaces, which may have been a user's or a browser's.
    select kind, message.previous_id, message.browser, message.position
    from unnest(messages) as message
    cross join unnest(array['user', 'anonymous']) as kind
    where message.type = 'alias' and message.previous_id is not null
  ) as named
  where not exists (
    select
    from track.identity
    where identity.external_id = named.external_id
      and identity.kind = named.kind
  );
  if v_kinds is not null then
    perform track._enter_people(v_kinds, v_external_ids, v_browsers);
  end if;
end;
$$;

comment on function track._enter_people_of(track.parsed_message[]) is $$
Inserts the identities that messages name for the first time, each with the browser of the first message that names it.
$$;
