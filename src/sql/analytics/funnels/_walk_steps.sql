create or replace function analytics._walk_steps(
  at timestamptz[],
  steps int[],
  exclusions int[],
  step_count int,
  conversion_window interval,
  optional_steps int,
  is_strict boolean,
  out reached int,
  out is_excluded boolean,
  out times timestamptz[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_last constant int := cardinality(at);
  -- Of the latest attempt that has reached each step: its start, the end of its window, and the event of each step.
  v_starts timestamptz[] := array_fill(null::timestamptz, array[step_count]);
  v_ends timestamptz[] := v_starts;
  v_tainted boolean[] := array_fill(false, array[step_count]);
  v_paths int[] := array_fill(0, array[step_count * step_count]);
  v_first int := 1;
  v_until int;
  v_length int;
  v_is_mixed boolean;
  v_event int;
  v_step int;
  v_previous int;
  v_start timestamptz;
  v_end timestamptz;
  v_bit int;
  v_reached_end timestamptz;
  v_path int[];
begin
  reached := 0;
  is_excluded := false;
  while v_first <= v_last loop
    -- The events of one instant count in the order of the steps, when they are not all of the same steps.
    v_until := v_first;
    v_is_mixed := false;
    while at[v_until + 1] = at[v_first] loop
      v_until := v_until + 1;
      v_is_mixed := v_is_mixed
        or steps[v_until] <> steps[v_first]
        or exclusions[v_until] <> exclusions[v_first];
    end loop;
    v_length := v_until - v_first + 1;

    for v_position in 0 .. v_length * step_count - 1 loop
      if v_is_mixed then
        v_step := 1 + v_position / v_length;
        v_event := v_first + v_position % v_length;
      else
        -- From the last step, so that one event is not two steps.
        v_step := step_count - v_position % step_count;
        v_event := v_first + v_position / step_count;
      end if;
      v_bit := 1 << (v_step - 1);
      continue when (steps[v_event] | exclusions[v_event]) & v_bit = 0;

      -- The closest step before it that an attempt has reached, in whose window the event is.
      v_previous := v_step - 1;
      loop
        if v_previous = 0 then
          v_start := at[v_event];
          v_end := v_start + conversion_window;
          exit;
        end if;
        v_start := v_starts[v_previous];
        v_end := v_ends[v_previous];
        exit when at[v_event] <= v_end;
        if optional_steps & (1 << (v_previous - 1)) = 0 then
          v_start := null;
          exit;
        end if;
        v_previous := v_previous - 1;
      end loop;
      continue when v_start is null or v_starts[v_step] = v_start;

      if exclusions[v_event] & v_bit <> 0 and not v_is_mixed and v_previous > 0 then
        v_tainted[v_previous] := true;
        is_excluded := is_excluded or reached = v_previous and at[v_event] <= v_reached_end;
      end if;
      continue when steps[v_event] & v_bit = 0;

      v_path := case
        when v_previous = 0 then array_fill(0, array[step_count])
        else v_paths[(v_previous - 1) * step_count + 1:v_previous * step_count]
      end;
      continue when v_is_mixed and v_event = any (v_path);
      v_path[v_step] := v_event;
      if v_previous = 0 or not v_tainted[v_previous] then
        v_starts[v_step] := v_start;
        v_ends[v_step] := v_end;
        v_tainted[v_step] := false;
        v_paths[(v_step - 1) * step_count + 1:v_step * step_count] := v_path;
      end if;
      if v_step > reached or v_step = reached and is_excluded then
        reached := v_step;
        is_excluded := v_previous > 0 and v_tainted[v_previous];
        v_reached_end := v_end;
        times := array(
          select case when place.event > 0 then at[place.event] end
          from unnest(v_path) with ordinality as place (event, number)
          order by place.number
        );
      end if;
    end loop;

    exit when v_starts[step_count] is not null;
    if is_strict and not v_is_mixed then
      for v_number in 1 .. step_count loop
        if steps[v_first] & (1 << (v_number - 1)) = 0 then
          v_starts[v_number] := null;
          v_ends[v_number] := null;
          v_tainted[v_number] := false;
        end if;
      end loop;
    end if;
    v_first := v_until + 1;
  end loop;
end;
$$;

comment on function analytics._walk_steps(timestamptz[], int[], int[], int, interval, int, boolean) is $$
Returns the furthest attempt of a person in an ordered or strict funnel.
`at`: the times of the events, ascending; `steps`, `exclusions`: for each event one bit per step that it is, and per
step that an attempt cannot reach any more after it (bit 0 for step 1). `optional_steps`: one bit per optional step.
`reached`: the number of the step; 0 for none. `is_excluded`: an exclusion was between its steps. `times`: the time of
each step, null for one that was not done. The rules are those of PostHog.
$$;

grant execute on function analytics._walk_steps(timestamptz[], int[], int[], int, interval, int, boolean)
to insights_reader;
