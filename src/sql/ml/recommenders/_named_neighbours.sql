create or replace function ml._named_neighbours(call text)
returns setof ml.item_neighbours
language plpgsql
volatile
set search_path from current
set client_min_messages to warning
set jit to off
as $$
begin
  return query execute format(
    $statement$
    select item.name || '', -- computed, as a long name is in the toast table of a table that is dropped
      array_agg(neighbour.name order by abs(entry.weight) desc, entry.item_no),
      array_agg(entry.weight order by abs(entry.weight) desc, entry.item_no)
    from %s as list
    cross join lateral unnest(list.neighbours, list.weights) as entry (item_no, weight)
    join pg_temp._ml_item as item on item.item_no = list.item_no
    join pg_temp._ml_item as neighbour on neighbour.item_no = entry.item_no
    group by item.item_no, item.name
    order by item.item_no
    $statement$,
    call
  );
  drop table if exists pg_temp._ml_interaction, pg_temp._ml_item, pg_temp._ml_vector;
end;
$$;

comment on function ml._named_neighbours(text) is $$
Returns the rows of a call, which are `ml.neighbour_row`, with the names of the items in `_ml_item`.
$$;

grant execute on function ml._named_neighbours(text) to insights_analyst, insights_admin, insights_worker;
