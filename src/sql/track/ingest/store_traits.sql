create or replace function track._store_traits(messages track.parsed_message[], identities bigint[], people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_changed bigint[];
begin
  with stored as (
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
    where (trait.set_at, trait.value) < (excluded.set_at, excluded.value)
    returning trait.person_id
  )

  select array_agg(distinct stored.person_id) into v_changed
  from stored;
  if v_changed is not null then
    perform track._enqueue('trait', v_changed);
  end if;

  if exists (
    select
    from track.identity
    join track.identity as sibling on sibling.external_id = identity.external_id and sibling.kind = 'anonymous'
    where identity.identity_id = any (identities)
      and identity.kind = 'anonymous'
      and sibling.branch <> 0
  ) then
    perform track._keep_latest_traits(identities);
  end if;
end;
$$;

comment on function track._store_traits(track.parsed_message[], bigint[], bigint[]) is $$
Stores the traits of messages; the latest value by the time of the message applies.
$$;
