create or replace function track._store_traits(messages track.parsed_message[], identities bigint[], people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_is_shared constant boolean := exists (
    select
    from track.identity
    join track.identity as sibling on sibling.external_id = identity.external_id and sibling.kind = 'anonymous'
    where identity.identity_id = any (identities)
      and identity.kind = 'anonymous'
      and sibling.branch <> 0
  );
  -- The identities and people of what is stored with the start of its hour.
  v_identities bigint[] := identities;
  v_people bigint[] := people;
  v_said record;
begin
  if v_is_shared then
    select
      array_agg(coalesce(browser.identity_id, identities[message.ordinality]) order by message.ordinality),
      array_agg(coalesce(browser.person_id, people[message.ordinality]) order by message.ordinality)
    into v_identities, v_people
    from unnest(messages) with ordinality as message
    left join track.identity as browser
      on message.type <> 'identify'
      and message.identity_kind = 'anonymous'
      and message.traits is not null
      and browser.identity_id = (
        select track._browser_identity(message.external_id, date_trunc('hour', message.occurred_at, 'UTC'))
      );
  end if;

  with said as materialized (
    select
      message.ordinality as place, message.type = 'identify' as is_stated, message.occurred_at,
      trait.key as name, trait.value
    from unnest(messages) with ordinality as message
    cross join lateral jsonb_each(message.traits) as trait
    where message.traits is not null
      and length(trait.key) between 1 and 100
  ),

  stored as (
    insert into track.trait (person_id, identity_id, name, value, set_at)
    select distinct on (identities[said.place], said.name)
      people[said.place], identities[said.place], said.name, said.value, said.occurred_at
    from said
    order by identities[said.place], said.name, said.occurred_at desc, said.value desc
    on conflict (person_id, identity_id, name) do update
    set value = excluded.value, set_at = excluded.set_at
    where (trait.set_at, trait.value) < (excluded.set_at, excluded.value)
  )

  -- Only `identify` states traits; each event of a client has its time zone, of which one time per hour is enough.
  select
    array_agg(point.person_id) as people, array_agg(point.identity_id) as identities, array_agg(point.name) as names,
    array_agg(point.set_at) as times, array_agg(point.value) as trait_values
  into v_said
  from (
    select
      people[said.place] as person_id, identities[said.place] as identity_id, said.name,
      said.occurred_at as set_at, said.value
    from said
    where said.is_stated

    union all

    select distinct
      v_people[said.place], v_identities[said.place], said.name,
      date_bin('1 hour', said.occurred_at, '2000-01-01 00:00:00Z'), said.value
    from said
    where not said.is_stated
  ) as point;

  if v_is_shared then
    perform track._keep_latest_traits(identities);
  end if;
  -- People with another message than `identify` are queued for its event.
  perform track._enqueue('trait', array(
    select distinct people[message.ordinality]
    from unnest(messages) with ordinality as message
    where message.traits is not null
      and message.type = 'identify'
  ));
  if v_said.people is not null then
    perform track._store_trait_history(
      v_said.people, v_said.identities, v_said.names, v_said.times, v_said.trait_values
    );
  end if;
end;
$$;

comment on function track._store_traits(track.parsed_message[], bigint[], bigint[]) is $$
Stores the traits of messages: the latest value by the time of the message, and the history of all values.
$$;
