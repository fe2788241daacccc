create or replace function track._enter_items(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
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
  on conflict (external_id) do nothing;

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

  begin
    perform track._describe_items(messages);
  exception
    when sqlstate 'CF010' then
      perform track._describe_items_one_by_one(messages);
  end;
end;
$$;

comment on function track._enter_items(track.parsed_message[]) is $$
Inserts the items that messages name for the first time, and stores their missing attributes.
$$;
