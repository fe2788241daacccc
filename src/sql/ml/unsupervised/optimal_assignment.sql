create or replace function ml.optimal_assignment(costs float8[])
returns int[]
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows constant int := coalesce(array_length(costs, 1), 0);
  v_columns constant int := coalesce(array_length(costs, 2), 0);
  v_is_wide constant boolean := v_rows <= v_columns;
  v_n constant int := least(v_rows, v_columns);
  v_m constant int := greatest(v_rows, v_columns);
  -- The potentials of rows and columns, the row of each column, and the path by which it was reached.
  v_u float8[] := array_fill(0::float8, array[v_n + 1], array[0]);
  v_v float8[] := array_fill(0::float8, array[v_m + 1], array[0]);
  v_row_of int[] := array_fill(0, array[v_m + 1], array[0]);
  v_way int[] := array_fill(0, array[v_m + 1], array[0]);
  v_least float8[];
  v_is_used boolean[];
  v_row int;
  v_column int;
  v_next int;
  v_delta float8;
  v_cost float8;
  v_assigned int[] := array_fill(null::int, array[v_rows]);
begin
  if array_ndims(costs) is distinct from 2 then
    perform common.refuse('CF001', 'costs are not a matrix', 'Give one row per worker and one column per task.');
  elsif v_m > 200 then
    perform common.refuse('CF008', format('the matrix has %s rows or columns', v_m), 'It can have 200 at most.');
  elsif exists (
    select from unnest(costs) as cost where cost is null or cost in ('NaN', 'Infinity', '-Infinity')
  ) then
    perform common.refuse('CF001', 'a cost is null, NaN or infinity', 'Give finite costs.');
  end if;
  for v_i in 1..v_n loop
    v_row_of[0] := v_i;
    v_column := 0;
    v_least := array_fill('Infinity'::float8, array[v_m + 1], array[0]);
    v_is_used := array_fill(false, array[v_m + 1], array[0]);
    -- The shortest path, in reduced costs, from row v_i to a column that has no row.
    loop
      v_is_used[v_column] := true;
      v_row := v_row_of[v_column];
      v_delta := 'Infinity';
      for v_j in 1..v_m loop
        continue when v_is_used[v_j];
        v_cost := case when v_is_wide then costs[v_row][v_j] else costs[v_j][v_row] end - v_u[v_row] - v_v[v_j];
        if v_cost < v_least[v_j] then
          v_least[v_j] := v_cost;
          v_way[v_j] := v_column;
        end if;
        if v_least[v_j] < v_delta then
          v_delta := v_least[v_j];
          v_next := v_j;
        end if;
      end loop;
      for v_j in 0..v_m loop
        if v_is_used[v_j] then
          v_u[v_row_of[v_j]] := v_u[v_row_of[v_j]] + v_delta;
          v_v[v_j] := v_v[v_j] - v_delta;
        else
          v_least[v_j] := v_least[v_j] - v_delta;
        end if;
      end loop;
      v_column := v_next;
      exit when v_row_of[v_column] = 0;
    end loop;
    while v_column <> 0 loop
      v_row_of[v_column] := v_row_of[v_way[v_column]];
      v_column := v_way[v_column];
    end loop;
  end loop;
  for v_j in 1..v_m loop
    if v_row_of[v_j] <> 0 then
      if v_is_wide then
        v_assigned[v_row_of[v_j]] := v_j;
      else
        v_assigned[v_j] := v_row_of[v_j];
      end if;
    end if;
  end loop;
  return v_assigned;
end;
$$;

comment on function ml.optimal_assignment(float8[]) is $$
@behavior -*
Assigns each row of a matrix of costs to a column of its own, so that the sum of the costs is least.
Returns the column of each row; with more rows than columns, null for the rows that are left. Rows and columns count
from 1. Among assignments of equal cost, the matrix decides which one. Errors: CF001 (not a matrix, not finite), CF008
(more than 200 rows or columns). Source: Kuhn, The Hungarian method for the assignment problem, 1955, with the
potentials of Jonker and Volgenant, 1987; the time grows with the square of the smaller number times the larger one.
$$;

grant execute on function ml.optimal_assignment(float8[]) to insights_admin, insights_worker;
