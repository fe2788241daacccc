create or replace function ml._ets_ahead(
  model jsonb,
  steps int
)
returns table (step int, forecast float8, deviation float8)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_level constant float8 := model ->> 'level';
  v_slope constant float8 := coalesce((model ->> 'slope')::float8, 0);
  v_alpha constant float8 := model ->> 'alpha';
  v_beta constant float8 := coalesce((model ->> 'beta')::float8, 0);
  v_gamma constant float8 := coalesce((model ->> 'gamma')::float8, 0);
  v_phi constant float8 := coalesce((model ->> 'phi')::float8, 1);
  v_variance constant float8 := model ->> 'residual_variance';
  v_seasons constant float8[] := array(
    select value::float8
    from jsonb_array_elements_text(nullif(model -> 'seasons', 'null')) with ordinality as season (value, place)
    order by place
  );
  v_period constant int := cardinality(v_seasons);
  v_growth float8 := 0;
  v_spread float8 := 1;
begin
  for v_step in 1..steps loop
    step := v_step;
    v_growth := v_growth + v_phi ^ v_step;
    forecast := v_level + v_slope * v_growth
      + case when v_period > 0 then v_seasons[(v_step - 1) % v_period + 1] else 0 end;
    deviation := sqrt(v_variance * v_spread);
    return next;
    -- The squared effect of an error of this step on the next forecast.
    v_spread := v_spread + (
      v_alpha + v_beta * v_growth + case when v_period > 0 and v_step % v_period = 0 then v_gamma else 0 end
    ) ^ 2;
  end loop;
end;
$$;

comment on function ml._ets_ahead(jsonb, int) is $$
Returns the mean and the standard deviation of each of the next `steps` values, in closed form for additive errors.
Source: Hyndman, Koehler, Ord and Snyder, Prediction intervals for exponential smoothing using two new classes of state
space models, Journal of Forecasting 24, 2005.
$$;

grant execute on function ml._ets_ahead(jsonb, int) to insights_analyst, insights_admin, insights_worker;
