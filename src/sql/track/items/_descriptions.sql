create or replace function track._descriptions(item_ids bigint[])
returns setof track.named_item
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    item.item_id, item.kind, item.title, item.parent_item_id, item.url, item.language, item.attributes,
    item.available_from, item.available_until, item.due_at
  from track.item
  where item.item_id = any (_descriptions.item_ids)
    and not exists (select 1 from track.named_item where named_item.item_id = item.item_id)
  union all
  select named_item.*
  from track.named_item
  where named_item.item_id = any (_descriptions.item_ids);
end;
$$;

comment on function track._descriptions(bigint[]) is $$
Returns what is stated of items under their own names: from `track.named_item`, or else from `track.item`.
$$;
