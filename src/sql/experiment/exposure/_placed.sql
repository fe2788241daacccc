create or replace function experiment._placed(outcomes numeric[], places int[], figures numeric[])
returns numeric[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_all numeric[] := outcomes;
begin
  for v_entry in 1 .. cardinality(places) loop
    v_all[places[v_entry]] := figures[v_entry];
  end loop;
  return v_all;
end;
$$;

comment on function experiment._placed(numeric[], int[], numeric[]) is $$
Returns outcomes with the given figures at their places.
$$;
