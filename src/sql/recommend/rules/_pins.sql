create or replace function recommend._pins(
  context recommend.person_context,
  kind text
)
returns table (item_id bigint, place int, rule text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  return query
  with pinned as (
    -- An item that several rules pin has the first of these places.
    select distinct on (coalesce(given.merged_item_id, given.item_id))
      coalesce(given.merged_item_id, given.item_id) as item_id,
      known.place + listed.position - 1 as place,
      known.name
    from recommend._rules_of(_pins.context, _pins.kind, now()) as known
    join recommend.rule_item as listed on listed.name = known.name
    join track.item as given on given.item_id = listed.item_id
    where known.action = 'pin'
    order by coalesce(given.merged_item_id, given.item_id), known.place + listed.position - 1, known.name
  )

  select pinned.item_id, pinned.place, pinned.name
  from pinned
  order by pinned.place, pinned.name, pinned.item_id;
end;
$$;

comment on function recommend._pins(recommend.person_context, text) is $$
@behavior -*
Returns the items that rules pin, in the order of their places.
Several items may have the same place: the later one takes the next place that is free. Whether an item may be
recommended is decided by `recommend._blocked`.
$$;
