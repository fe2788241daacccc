create or replace function analytics._item_id(item text)
returns bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_item_id bigint;
begin
  if _item_id.item is null then
    return null;
  end if;
  select coalesce(known.merged_item_id, known.item_id) into v_item_id
  from track.item as known
  where known.external_id = _item_id.item;
  if v_item_id is null then
    perform common.refuse(
      'CF002',
      format('there is no item "%s"', left(_item_id.item, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(
          left(_item_id.item, 100),
          array(
            select known.external_id
            from track.item as known
            where left(known.external_id, 2) = left(_item_id.item, 2)
            order by known.external_id
            limit 1000
          )
        ) || '"? ',
        ''
      ) || 'Give the external id of an item, as in track.item.'
    );
  end if;
  return v_item_id;
end;
$$;

comment on function analytics._item_id(text) is $$
Returns the item that an external id means, after merges; null for null.
Errors: CF002 for an unknown item (names the nearest).
$$;

grant execute on function analytics._item_id(text) to insights_reader;
