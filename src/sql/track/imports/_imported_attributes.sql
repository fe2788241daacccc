create or replace function track._imported_attributes(items bigint[])
returns setof track.imported_item
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    (array_agg(entry.source_id order by entry.stated_at desc, entry.source_id desc))[1],
    entry.item_id,
    (array_agg(entry.kind order by entry.stated_at desc, entry.source_id desc)
      filter (where entry.kind is not null))[1],
    (array_agg(entry.title order by entry.stated_at desc, entry.source_id desc)
      filter (where entry.title is not null))[1],
    (array_agg(entry.url order by entry.stated_at desc, entry.source_id desc) filter (where entry.url is not null))[1],
    (array_agg(entry.parent_item_id order by entry.stated_at desc, entry.source_id desc)
      filter (where entry.parent_item_id is not null))[1],
    max(entry.stated_at)
  from track.imported_item as entry
  where entry.item_id = any (_imported_attributes.items)
  group by entry.item_id;
end;
$$;

comment on function track._imported_attributes(bigint[]) is $$
Returns the attributes of items that imports state. Of several, that of the last import that states the attribute.
$$;
