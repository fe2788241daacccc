create or replace function analytics._walk_unordered(
  at timestamptz[],
  steps int[],
  exclusions int[],
  step_count int,
  conversion_window interval,
  start_before timestamptz,
  out reached int,
  out times timestamptz[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_last constant int := cardinality(at);
  -- The step of each event, and of each step the oldest and the newest event that are in the window.
  v_step_of int[] := array_fill(0, array[v_last]);
  v_oldest int[] := array_fill(null::int, array[step_count]);
  v_newest int[] := v_oldest;
  v_done int := 0;
  v_step int;
  v_next int;
begin
  reached := 0;
  -- One position more, for what is in the window after the last event.
  for v_event in 1 .. v_last + 1 loop
    loop
      v_step := null;
      for v_number in 1 .. step_count loop
        if v_oldest[v_number] is not null and (v_step is null or at[v_oldest[v_number]] < at[v_oldest[v_step]]) then
          v_step := v_number;
        end if;
      end loop;
      exit when v_step is null
        or at[v_oldest[v_step]] >= start_before
        or v_done < step_count and at[v_oldest[v_step]] + conversion_window >= at[v_event];
      if v_done > reached then
        reached := v_done;
        times := array(
          select at[place.event] from unnest(v_oldest) as place (event) where place.event is not null order by 1
        );
      end if;
      v_next := v_oldest[v_step] + 1;
      while v_next < v_event and v_step_of[v_next] <> v_step loop
        v_next := v_next + 1;
      end loop;
      if v_next < v_event then
        v_oldest[v_step] := v_next;
      else
        v_oldest[v_step] := null;
        v_newest[v_step] := null;
        v_done := v_done - 1;
      end if;
    end loop;
    exit when reached = step_count or v_event > v_last or at[v_oldest[v_step]] >= start_before;

    if steps[v_event] = 0 then
      if exclusions[v_event] <> 0 then
        if reached = 0 and v_done > 0 then
          reached := 1;
          times := array(select min(at[place.event]) from unnest(v_oldest) as place (event));
        end if;
        v_oldest := array_fill(null::int, array[step_count]);
        v_newest := v_oldest;
        v_done := 0;
      end if;
      continue;
    end if;

    -- Of several steps, the one that was done the longest time ago.
    v_step := null;
    for v_number in 1 .. step_count loop
      if steps[v_event] & (1 << (v_number - 1)) <> 0
        and (
          v_step is null
          or v_newest[v_step] is not null
            and (v_newest[v_number] is null or at[v_newest[v_number]] < at[v_newest[v_step]])
        )
      then
        v_step := v_number;
      end if;
    end loop;
    if v_oldest[v_step] is null then
      v_oldest[v_step] := v_event;
      v_done := v_done + 1;
    end if;
    v_newest[v_step] := v_event;
    v_step_of[v_event] := v_step;
  end loop;
end;
$$;

comment on function analytics._walk_unordered(timestamptz[], int[], int[], int, interval, timestamptz) is $$
Returns the most steps that a person has done within a window, in any order.
The arguments are those of `analytics._walk_steps`. `start_before`: the first of the steps is earlier.
`times`: those of the steps, ascending.
What was done in a window in which an excluded event follows does not count, unless it was all steps; one step does.
$$;

grant execute on function analytics._walk_unordered(timestamptz[], int[], int[], int, interval, timestamptz)
to insights_reader;
