create or replace function ml._spread(matrix float8[], places integer[], width integer)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_spread float8[] := array_fill(0::float8, array[width, width]);
begin
  for i in 1..cardinality(places) loop
    for j in 1..cardinality(places) loop
      v_spread[places[i]][places[j]] := matrix[i][j];
    end loop;
  end loop;
  return v_spread;
end;
$$;

comment on function ml._spread(float8[], integer[], integer) is $$
Returns a matrix of `width` rows that has the rows and columns of `matrix` at the given places, and 0 elsewhere.
$$;

grant execute on function ml._spread(float8[], integer[], integer) to insights_analyst, insights_admin, insights_worker;
