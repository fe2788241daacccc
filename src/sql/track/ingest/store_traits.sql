create or replace function track._store_traits(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select distinct on (identity.identity_id, trait.key)
    identity.person_id, identity.identity_id, trait.key, trait.value, message.occurred_at
  from unnest(messages) as message
  join track.identity on identity.external_id = message.external_id and identity.kind = message.identity_kind
  cross join lateral jsonb_each(message.traits) as trait
  where message.traits is not null
    and length(trait.key) between 1 and 100
  order by identity.identity_id, trait.key, message.occurred_at desc, trait.value desc
  on conflict (person_id, identity_id, name) do update
  set value = excluded.value, set_at = excluded.set_at
  where (trait.set_at, trait.value) < (excluded.set_at, excluded.value);
end;
$$;

comment on function track._store_traits(track.parsed_message[]) is $$
Stores the traits of messages; the latest value by the time of the message applies.
$$;
