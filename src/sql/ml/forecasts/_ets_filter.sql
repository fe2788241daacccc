/*
 * A time series is filtered step by step, which is not a set operation: each error depends on the state that results
 * from the errors before it. The series is one array, and the filter a loop over it.
 */
create or replace function ml._ets_filter(
  series float8[],
  shape int[],
  parameters float8[],
  out residuals float8[],
  out level float8,
  out slope float8,
  out seasons float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_period constant int := shape[1];
  v_trend constant int := shape[2];
  v_seasonal constant boolean := shape[3] = 1;
  v_size constant int := cardinality(series);
  v_alpha constant float8 := parameters[1];
  v_beta constant float8 := case when v_trend > 0 then parameters[2] else 0 end;
  v_gamma constant float8 := case when v_seasonal then parameters[3] else 0 end;
  v_phi constant float8 := case v_trend when 0 then 0 when 1 then 1 else parameters[4] end;
  v_cycles int;
  v_mean float8;
  v_error float8;
  v_place int;
begin
  residuals := array_fill(0::float8, array[v_size]);
  seasons := array_fill(0::float8, array[greatest(v_period, 1)]);
  slope := 0;
  if v_seasonal then
    -- The means of the first cycles give level and slope, the mean residuals of each position in the cycle the seasons.
    v_cycles := least(v_size / v_period, 3);
    select
      case when v_trend > 0 and v_cycles > 1 then coalesce(regr_slope(mean, cycle), 0) / v_period else 0 end,
      avg(mean)
    into slope, v_mean
    from (
      select (place - 1) / v_period as cycle, avg(value) as mean
      from unnest(series) with ordinality as entry (value, place)
      where place <= v_cycles * v_period
      group by (place - 1) / v_period
    ) as cycle;
    level := v_mean - slope * (v_cycles * v_period + 1) / 2;
    select array_agg(coalesce(season, 0) - coalesce(middle, 0) order by place)
    into seasons
    from (
      select wanted.place, left_over.season, avg(left_over.season) over () as middle
      from generate_series(0, v_period - 1) as wanted (place)
      left join (
        select ((place - 1) % v_period)::int as place, avg(value - level - slope * place) as season
        from unnest(series) with ordinality as entry (value, place)
        where place <= v_cycles * v_period
        group by (place - 1) % v_period
      ) as left_over on left_over.place = wanted.place
    ) as centred;
  elsif v_trend > 0 then
    select coalesce(regr_slope(value, place), 0), coalesce(regr_intercept(value, place), avg(value))
    into slope, level
    from unnest(series) with ordinality as entry (value, place)
    where place <= greatest(10, v_size / 10);
  else
    level := (
      select value
      from unnest(series) with ordinality as entry (value, place)
      where value is not null
      order by place
      limit 1
    );
  end if;
  for v_step in 1..v_size loop
    v_place := (v_step - 1) % greatest(v_period, 1) + 1;
    v_error := series[v_step] - level - v_phi * slope - case when v_seasonal then seasons[v_place] else 0 end;
    -- A gap advances the state without a correction.
    if v_error is null then
      residuals[v_step] := null;
      v_error := 0;
    else
      residuals[v_step] := v_error;
    end if;
    level := level + v_phi * slope + v_alpha * v_error;
    slope := v_phi * slope + v_beta * v_error;
    if v_seasonal then
      seasons[v_place] := seasons[v_place] + v_gamma * v_error;
    end if;
  end loop;
  -- Rotated, so that the season of the next step is the first.
  if v_seasonal then
    v_place := v_size % v_period;
    seasons := seasons[v_place + 1:v_period] || seasons[1:v_place];
  end if;
end;
$$;

comment on function ml._ets_filter(float8[], int[], float8[]) is $$
Returns the one-step errors and the last state of exponential smoothing with additive errors.
`shape`: period, trend (0 none, 1 additive, 2 damped), seasonal (0, 1); `parameters`: alpha, beta, gamma, phi. Nulls in
the series are gaps.
Source: Hyndman and others, Forecasting with Exponential Smoothing, 2008, chapter 2.
$$;

grant execute on function ml._ets_filter(float8[], int[], float8[])
to insights_analyst, insights_admin, insights_worker;
