create or replace function ml._naive_cycle(
  series float8[],
  period int,
  out cycle float8[],
  out ages int[],
  out deviation float8
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant int := cardinality(series);
  v_last float8[] := array_fill(null::float8, array[period]);
  v_step int[] := array_fill(0, array[period]);
  v_latest float8;
  v_latest_step int := 0;
  v_place int;
  v_count int := 0;
  v_sum float8 := 0;
  v_change float8;
begin
  for v_now in 1..v_size loop
    continue when series[v_now] is null;
    v_place := (v_now - 1) % period + 1;
    v_change := (series[v_now] - v_last[v_place]) / sqrt((v_now - v_step[v_place]) / period);
    if v_change is not null then
      v_count := v_count + 1;
      if abs(v_change) > 1e-140 then
        v_sum := v_sum + v_change * v_change;
      end if;
    end if;
    v_last[v_place] := series[v_now];
    v_step[v_place] := v_now;
    v_latest := series[v_now];
    v_latest_step := v_now;
  end loop;
  deviation := sqrt(v_sum / nullif(v_count, 0));
  cycle := array_fill(null::float8, array[period]);
  ages := array_fill(null::int, array[period]);
  -- Rotated, so that the value of the next step is the first. A position that was never known has the last known value.
  for v_ahead in 1..period loop
    v_place := (v_size + v_ahead - 1) % period + 1;
    cycle[v_ahead] := coalesce(v_last[v_place], v_latest);
    ages[v_ahead] := (
      v_size + v_ahead - case when v_last[v_place] is null then v_latest_step else v_step[v_place] end + period - 1
    ) / period;
  end loop;
end;
$$;

comment on function ml._naive_cycle(float8[], int) is $$
Returns the seasonal-naive forecast of the next cycle: the last known value of each position.
`ages` is the number of cycles since it, and `deviation` the standard deviation of a change from cycle to cycle, null
when no position is known twice.
$$;

grant execute on function ml._naive_cycle(float8[], int) to insights_analyst, insights_admin, insights_worker;
