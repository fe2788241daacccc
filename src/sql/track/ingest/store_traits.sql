create or replace function track._store_traits(messages track.parsed_message[], identities bigint[], people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_is_shared boolean;
  -- The identities and people of what is stored with the start of its hour.
  v_identities bigint[] := identities;
  v_people bigint[] := people;
begin
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select distinct on (identities[message.ordinality], trait.key)
    people[message.ordinality], identities[message.ordinality], trait.key, trait.value, message.occurred_at
  from unnest(messages) with ordinality as message
  cross join lateral jsonb_each(message.traits) as trait
  where message.traits is not null
    and length(trait.key) between 1 and 100
  order by identities[message.ordinality], trait.key, message.occurred_at desc, trait.value desc
  on conflict (person_id, identity_id, name) do update
  set value = excluded.value, set_at = excluded.set_at
  where (trait.set_at, trait.value) < (excluded.set_at, excluded.value);

  v_is_shared := exists (
    select
    from track.identity
    join track.identity as sibling on sibling.external_id = identity.external_id and sibling.kind = 'anonymous'
    where identity.identity_id = any (identities)
      and identity.kind = 'anonymous'
      and sibling.branch <> 0
  );
  if v_is_shared then
    perform track._keep_latest_traits(identities);

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

  -- Only `identify` states traits; each event of a client has its time zone, of which one time per hour is enough.
  perform track._store_trait_history(
    array_agg(said.person_id), array_agg(said.identity_id), array_agg(said.name), array_agg(said.set_at),
    array_agg(said.value)
  )
  from (
    select distinct
      case message.type when 'identify' then people[message.ordinality] else v_people[message.ordinality] end
        as person_id,
      case message.type when 'identify' then identities[message.ordinality] else v_identities[message.ordinality] end
        as identity_id,
      case message.type
        when 'identify' then message.occurred_at
        else date_trunc('hour', message.occurred_at, 'UTC')
      end as set_at,
      trait.key as name,
      case when length(trait.value::text) > 1000 then 'null' else trait.value end as value
    from unnest(messages) with ordinality as message
    cross join lateral jsonb_each(message.traits) as trait
    where message.traits is not null
      and length(trait.key) between 1 and 100
  ) as said
  having count(*) > 0;
end;
$$;

comment on function track._store_traits(track.parsed_message[], bigint[], bigint[]) is $$
Stores the traits of messages: the latest value by the time of the message, and the history of all values.
$$;
