create or replace function recommend._allowed_pins(
  context recommend.person_context,
  request recommend.request,
  seen bigint[],
  out items bigint[],
  out places int[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_last int := 0;
begin
  select coalesce(array_agg(pin.item_id order by pin.n), '{}'), coalesce(array_agg(pin.place order by pin.n), '{}')
  into items, places
  from recommend._pins(_allowed_pins.context, (_allowed_pins.request).kind)
    with ordinality as pin (item_id, place, rule, n)
  where not coalesce(pin.item_id = any (_allowed_pins.seen), false)
    and ((_allowed_pins.request).only_items is null or pin.item_id = any ((_allowed_pins.request).only_items));
  if items = '{}' then
    return;
  end if;

  select coalesce(array_agg(pin.item_id order by pin.n), '{}'), coalesce(array_agg(pin.place order by pin.n), '{}')
  into items, places
  from unnest(items, places) with ordinality as pin (item_id, place, n)
  where pin.item_id = any (
    recommend._unblocked(_allowed_pins.context, (_allowed_pins.request).kind, _allowed_pins.items)
  );
  -- Of several items with the same place, each takes the next one.
  for n in 1..cardinality(places) loop
    v_last := greatest(places[n], v_last + 1);
    places[n] := v_last;
  end loop;
end;
$$;

comment on function recommend._allowed_pins(recommend.person_context, recommend.request, bigint[]) is $$
@behavior -*
Returns the pinned items that no rule leaves out, without those of `seen`, in the order of their places.
$$;

create or replace function recommend._place_pins(
  items bigint[],
  pins bigint[],
  places int[],
  first_rank int,
  top int
)
returns bigint[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_list bigint[] := '{}';
  v_item int := 1;
  v_pin int := 1;
begin
  for v_place in 1..top loop
    if v_pin <= cardinality(pins)
      and (places[v_pin] < first_rank + v_place or v_item > cardinality(items))
    then
      v_list := v_list || pins[v_pin];
      v_pin := v_pin + 1;
    elsif v_item <= cardinality(items) then
      v_list := v_list || items[v_item];
      v_item := v_item + 1;
    else
      exit;
    end if;
  end loop;
  return v_list || items[v_item:];
end;
$$;

comment on function recommend._place_pins(bigint[], bigint[], int[], int, int) is $$
@behavior -*
Returns a list of items in which pinned ones have their places among the first `top`; the other items follow.
The list begins with the rank `first_rank`. Pinned items whose place a short list does not have follow at its end.
$$;
