create or replace function experiment._placed(size int, places int[], figures numeric[])
returns numeric[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_all numeric[] := array_fill(0::numeric, array[_placed.size]);
begin
  for v_entry in 1 .. coalesce(cardinality(_placed.places), 0) loop
    v_all[_placed.places[v_entry]] := _placed.figures[v_entry];
  end loop;
  return v_all;
end;
$$;

comment on function experiment._placed(int, int[], numeric[]) is $$
Returns an array of zeros with the given figures at their places.
$$;
