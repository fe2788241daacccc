create or replace function track._describe_items(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_said constant track.named_item[] := array(
    select row(
      item.item_id,
      (array_agg(message.item_kind order by message.position) filter (where message.item_kind is not null))[1],
      (array_agg(message.item_title order by message.position) filter (where message.item_title is not null))[1],
      (array_agg(parent.item_id order by message.position) filter (where parent.item_id is not null))[1],
      (array_agg(message.item_url order by message.position) filter (where message.item_url is not null))[1],
      null, null, null, null, null
    )::track.named_item
    from unnest(messages) as message
    join track.item on item.external_id = message.item
    left join track.item as parent
      on parent.external_id = message.item_parent
      and parent.external_id <> message.item
    group by item.item_id
  );
begin
  perform track._describe_names(v_said, false);

  -- Events set only columns without a value, so that values of the application's tables are kept.
  with said as (
    select
      given.item_id, given.kind, given.title, given.url,
      coalesce(parent.merged_item_id, parent.item_id) as parent_item_id
    from unnest(v_said) as given
    left join track.item as parent on parent.item_id = given.parent_item_id
  )

  update track.item
  set
    kind = case when item.kind = 'unknown' then coalesce(said.kind, item.kind) else item.kind end,
    title = coalesce(item.title, said.title),
    url = coalesce(item.url, said.url),
    parent_item_id = coalesce(item.parent_item_id, nullif(said.parent_item_id, item.item_id)),
    updated_at = now()
  from said
  where item.item_id = said.item_id
    -- Not "is null": without statistics, the planner would expect few rows, and compare each pair.
    and num_nulls(item.merged_item_id) > 0
    and not exists (select from track.named_item where named_item.item_id = item.item_id)
    and (
      item.kind = 'unknown' and said.kind is not null
      or item.title is null and said.title is not null
      or item.url is null and said.url is not null
      or item.parent_item_id is null and said.parent_item_id <> item.item_id
    );
end;
$$;

comment on function track._describe_items(track.parsed_message[]) is $$
Stores attributes of items that messages contain, for columns without a value. Raises CF010 for a cycle of parents.
$$;

create or replace function track._describe_items_one_by_one(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_message track.parsed_message;
begin
  perform track._describe_items(array(
    select jsonb_populate_record(message, '{"item_parent": null}') from unnest(messages) as message
  ));
  for v_message in
    select distinct on (message.item) message.*
    from unnest(messages) as message
    where message.item_parent is not null
    order by message.item, message.position
  loop
    begin
      perform track._describe_items(array[v_message]);
    exception
      when sqlstate 'CF010' then null;
    end;
  end loop;
end;
$$;

comment on function track._describe_items_one_by_one(track.parsed_message[]) is $$
Does the same as `track._describe_items`, without the parents that would form a cycle.
$$;
