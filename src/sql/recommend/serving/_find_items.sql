create or replace function recommend._find_items(names text[])
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_items bigint[];
  v_unknown text;
begin
  if _find_items.names is null then
    return null;
  end if;
  if cardinality(_find_items.names) > 1000 then
    perform common.refuse('CF008', format('%s items are given', cardinality(_find_items.names)),
      'Give at most 1,000 items.');
  end if;
  if exists (select from unnest(_find_items.names) as given (name) where length(given.name) > 512) then
    perform common.refuse(
      'CF008',
      format('item has %s characters', (select max(length(given.name)) from unnest(_find_items.names) as given (name))),
      'The name of an item has at most 512.'
    );
  end if;

  -- A merged item is a further name of the other one.
  v_items := array(
    select coalesce(known.merged_item_id, known.item_id)
    from unnest(_find_items.names) with ordinality as given (name, place)
    left join track.item as known on known.external_id = given.name
    order by given.place
  );
  if array_position(v_items, null) is not null then
    v_unknown := _find_items.names[array_lower(_find_items.names, 1) + array_position(v_items, null) - 1];
    perform common.refuse(
      'CF002',
      format('there is no item "%s"', coalesce(left(v_unknown, 100), 'null')),
      coalesce(
        'Did you mean "'
          || common.nearest_name(
            v_unknown,
            (
              select array_agg(near.external_id)
              from (
                select known.external_id
                from track.item as known
                where known.kind = 'course'
                  or starts_with(known.external_id, left(v_unknown, 3))
                limit 1000
              ) as near
            )
          )
          || '"?',
        'Give an item by the name that was sent with events.'
      )
    );
  end if;
  return v_items;
end;
$$;

comment on function recommend._find_items(text[]) is $$
@behavior -*
Returns the keys of items by their names, in the same order; the target for the name of a merged item.
Errors: CF002 for an unknown item (names the nearest), CF008 for more than 1,000 items or a name of more than 512
characters.
$$;

grant execute on function recommend._find_items(text[]) to insights_reader, insights_learner;
