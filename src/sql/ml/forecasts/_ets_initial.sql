create or replace function ml._ets_initial(
  shape int[],
  point float8[],
  fixed float8[]
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_initial float8[] := array[coalesce(fixed[5], point[5]), coalesce(fixed[6], point[6])];
  v_rest float8 := case shape[3] when 2 then shape[1] else 0 end;
begin
  if shape[3] > 0 then
    for k in 7..5 + shape[1] loop
      v_rest := v_rest - point[k];
    end loop;
    v_initial := v_initial || point[7:5 + shape[1]] || v_rest;
  end if;
  return v_initial;
end;
$$;

comment on function ml._ets_initial(int[], float8[], float8[]) is $$
Returns the state before the first value: level, slope, seasons.
The last season is what makes their sum 0, or, when they are factors, their mean 1.
$$;
