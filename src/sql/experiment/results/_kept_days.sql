create or replace function experiment._kept_days(days date[], people bigint[], segments bigint[], smallest int)
returns date[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kept date[] := array_fill(null::date, array[cardinality(days)]);
  v_open int := 1;
  v_people bigint := 0;
  v_last int := 0;
begin
  for v_place in 1 .. cardinality(days) loop
    v_people := v_people + people[v_place];
    if v_people >= smallest then
      for v_day in v_open .. v_place loop
        v_kept[v_day] := days[v_place];
      end loop;
      v_open := v_place + 1;
      v_last := v_place;
      v_people := 0;
    end if;
  end loop;
  -- The rest belongs to the last group, unless that would move it into an earlier segment.
  for v_place in v_open .. cardinality(days) loop
    if segments[v_place] = segments[v_last] then
      v_kept[v_open:v_place] := array_fill(days[v_last], array[v_place - v_open + 1]);
    end if;
  end loop;
  return v_kept;
end;
$$;

comment on function experiment._kept_days(date[], bigint[], bigint[], int) is $$
Adds up days, in their order, until each sum has at least `smallest` people; returns the last day of the sum of each.
A sum may reach into a later segment of days, not into an earlier one. Null: for days that are left over.
$$;
