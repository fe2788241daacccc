create or replace function track._known_item(
  external_id text,
  hint text default 'Give the external id of an item, as in track.item.'
)
returns track.item
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_item track.item;
begin
  select item.* into v_item from track.item where item.external_id = _known_item.external_id;
  if v_item.item_id is null then
    perform common.refuse(
      'CF002',
      format('there is no item "%s"', coalesce(left(_known_item.external_id, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(
          _known_item.external_id,
          array(
            select item.external_id
            from track.item
            where left(item.external_id, 2) = left(_known_item.external_id, 2)
            order by item.external_id
            limit 1000
          )
        ) || '"? ',
        ''
      ) || _known_item.hint
    );
  end if;
  return v_item;
end;
$$;

comment on function track._known_item(text, text) is $$
Returns the item of an external id, also of a merged one. Raises CF002 with the nearest name for an unknown one.
$$;

create or replace function track._refuse_merged_item(item track.item)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if (item).merged_item_id is not null then
    perform common.refuse(
      'CF001',
      format('item "%s" was merged into another one', left((item).external_id, 100)),
      format(
        'Merge that one: "%s". Or undo the merge first, by track.unmerge_item.',
        (
          select left(known.external_id, 100)
          from track.item as known
          where known.item_id = (_refuse_merged_item.item).merged_item_id
        )
      )
    );
  end if;
end;
$$;

comment on function track._refuse_merged_item(track.item) is $$
Raises CF001 for an item that was merged into another one.
$$;
