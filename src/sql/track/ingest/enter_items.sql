create or replace function track._enter_items(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_new bigint[];
  v_before track.named_item[];
begin
  if not exists (
    select
    from unnest(messages) as message
    left join track.item on item.external_id = message.item
    left join track.named_item as named on named.item_id = item.item_id
    where message.item is not null
      and (
        item.item_id is null
        -- An item that an earlier version merged has no description of its own.
        or (item.merged_item_id is null or named.item_id is not null)
        and (
          case when named.item_id is null then item.kind else named.kind end = 'unknown'
          and message.item_kind is not null
          or case when named.item_id is null then item.title else named.title end is null
          and message.item_title is not null
          or case when named.item_id is null then item.url else named.url end is null
          and message.item_url is not null
          or case when named.item_id is null then item.parent_item_id else named.parent_item_id end is null
          and message.item_parent is not null
        )
      )
  ) then
    return;
  end if;

  with entered as (
    insert into track.item (external_id)
    select external_id
    from (
      select message.item from unnest(messages) as message
      union
      select message.item_parent from unnest(messages) as message
    ) as named (external_id)
    where external_id is not null
      and not exists (select from track.item where item.external_id = named.external_id)
    order by external_id
    on conflict (external_id) do nothing
    returning item.item_id
  )
  select array_agg(entered.item_id) into v_new
  from entered;

  -- Sorted, so that concurrent batches do not cause a deadlock.
  perform item.item_id
  from track.item
  where item.item_id = any (array(
    select unnest(array[known.item_id, known.merged_item_id])
    from unnest(messages) as message
    join track.item as known on known.external_id = message.item
  ))
  order by item.item_id
  for no key update;

  v_before := array(
    select track._descriptions(array(
      select item.item_id
      from track.item
      where item.external_id in (select message.item from unnest(messages) as message)
    ))
  );
  begin
    perform track._describe_items(messages);
  exception
    when sqlstate 'CF010' then
      perform track._describe_items_one_by_one(messages);
  end;
  perform track._store_item_sources(messages, coalesce(v_new, '{}'), v_before);
end;
$$;

comment on function track._enter_items(track.parsed_message[]) is $$
Inserts the items that messages name for the first time, and stores their missing attributes.
$$;

create or replace function track._store_item_sources(
  messages track.parsed_message[],
  new_items bigint[],
  before track.named_item[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- A plan for any number of messages would compare each message with each item.
set plan_cache_mode to force_custom_plan
as $$
begin
  insert into track.item_source (item_id, attribute, identity_id)
  select
    first.item_id, first.attribute,
    coalesce(
      case first.identity_kind when 'anonymous' then track._browser_identity(first.external_id, first.occurred_at) end,
      first.identity_id
    )
  from (
    select distinct on (told.item_id, told.attribute)
      told.item_id, told.attribute, told.identity_kind, told.external_id, told.occurred_at, identity.identity_id
    from (
      select
        item.item_id, 'name' as attribute,
        message.identity_kind, message.external_id, message.occurred_at, message.position
      from unnest(messages) as message
      cross join lateral unnest(array[message.item, message.item_parent]) as named (external_id)
      join track.item on item.external_id = named.external_id
      join unnest(_store_item_sources.new_items) as new (item_id) on new.item_id = item.item_id

      union all

      select
        item.item_id, given.attribute,
        message.identity_kind, message.external_id, message.occurred_at, message.position
      from unnest(_store_item_sources.before) as former
      join track.item on item.item_id = former.item_id
      join track._descriptions(array(select entry.item_id from unnest(_store_item_sources.before) as entry))
        as described on described.item_id = former.item_id
      join unnest(messages) as message on message.item = item.external_id
      left join track.item as parent on parent.external_id = message.item_parent
      cross join lateral (
        values
          ('kind', nullif(former.kind, 'unknown'), described.kind, message.item_kind),
          ('title', former.title, described.title, message.item_title),
          ('url', former.url, described.url, message.item_url),
          ('parent', former.parent_item_id::text, described.parent_item_id::text, parent.item_id::text)
      ) as given (attribute, former, stored, said)
      where given.former is null
        and given.stored = given.said
    ) as told
    join track.identity
      on identity.external_id = told.external_id
      and identity.kind = told.identity_kind
      and (told.identity_kind <> 'anonymous' or identity.branch = 0)
    order by told.item_id, told.attribute, told.position
  ) as first
  on conflict (item_id, attribute) do update
  set identity_id = excluded.identity_id;
end;
$$;

comment on function track._store_item_sources(track.parsed_message[], bigint[], track.named_item[]) is $$
Stores which identities named the new items, and gave the attributes that had no value before the messages.
`before`: the descriptions of the items of the messages, as they were before these were applied.
$$;
