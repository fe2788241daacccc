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
  v_relative constant boolean := model ->> 'error' = 'multiplicative';
  v_factors constant boolean := model ->> 'seasonal' = 'multiplicative';
  v_least constant float8 := model ->> 'least';
  v_seasons constant float8[] := array(
    select value::float8
    from jsonb_array_elements_text(nullif(model -> 'seasons', 'null')) with ordinality as season (value, place)
    order by place
  );
  -- Of a naive model: the number of cycles since each value.
  v_ages constant int[] := array(
    select value::int
    from jsonb_array_elements_text(nullif(model -> 'ages', 'null')) with ordinality as age (value, place)
    order by place
  );
  v_period constant int := cardinality(v_seasons);
  v_power float8 := 1;
  v_growth float8 := 0;
  v_spread float8 := 1;
  v_season float8;
  v_plain float8;
  v_sum float8;
  v_common float8;
  -- The effects of an error on the forecasts after it, and the expected squares of the means.
  v_effects float8[] := '{}';
  v_plains float8[] := '{}';
  v_squares float8[] := '{}';
begin
  for v_step in 1..steps loop
    step := v_step;
    v_season := case when v_period > 0 then v_seasons[(v_step - 1) % v_period + 1] end;
    if cardinality(v_ages) > 0 then
      forecast := v_season;
      deviation := sqrt(v_variance * (v_ages[(v_step - 1) % v_period + 1] + (v_step - 1) / v_period));
      return next;
      continue;
    end if;
    v_power := v_power * v_phi;
    if v_power < 1e-100 then
      v_power := 0;
    end if;
    v_growth := v_growth + v_power;
    v_plain := v_level + v_slope * v_growth;
    forecast := case
      when v_period = 0 then v_plain
      when v_factors then v_plain * v_season
      else v_plain + v_season
    end;
    if v_relative then
      v_plain := case when v_factors then v_plain else forecast end;
      v_sum := 0;
      v_common := 0;
      for j in 1..v_step - 1 loop
        if v_factors and j % v_period = 0 then
          v_common := v_common + v_gamma * v_effects[j] * v_plains[v_step - j];
        end if;
        v_sum := v_sum + case
          -- An error moves the level and, a cycle later, the factor of the same season.
          when v_factors and j % v_period = 0
            then (v_effects[j] * sqrt(v_squares[v_step - j]) + v_gamma * abs(v_plain)) ^ 2
          else v_effects[j] * v_effects[j] * v_squares[v_step - j]
        end;
      end loop;
      v_squares := v_squares || v_plain * v_plain + v_variance * v_sum;
      deviation := sqrt(greatest(v_squares[v_step] * (1 + v_variance) - v_plain * v_plain, 0))
        * case when v_factors then v_season else 1 end;
      v_plains := v_plains || v_plain;
      -- The errors that moved both level and season.
      if v_factors then
        forecast := forecast + v_season * v_variance * v_common;
        deviation := deviation * (1 + coalesce(v_variance * v_common / nullif(v_plain, 0), 0));
      end if;
      v_effects := v_effects || v_alpha + v_beta * v_growth
        + case when v_period > 0 and not v_factors and v_step % v_period = 0 then v_gamma else 0 end;
    else
      deviation := sqrt(v_variance * v_spread);
      v_spread := v_spread + (
        v_alpha + v_beta * v_growth + case when v_period > 0 and v_step % v_period = 0 then v_gamma else 0 end
      ) ^ 2;
    end if;
    forecast := greatest(forecast, v_least);
    return next;
  end loop;
end;
$$;

comment on function ml._ets_ahead(jsonb, int) is $$
Returns the mean and the standard deviation of each of the next `steps` values of a model of ml._ets_model.
They are exact, but for multiplicative seasons beyond the first cycle, for which they are those of small errors.
Source: Hyndman, Koehler, Ord and Snyder, Prediction intervals for exponential smoothing using two new classes of state
space models, Journal of Forecasting 24, 2005.
$$;

create or replace function ml._ets_interval(
  model jsonb,
  steps int,
  confidence float8
)
returns table (step int, forecast float8, lower float8, upper float8)
language sql
immutable
parallel safe
begin atomic
  select
    ahead.step,
    ahead.forecast,
    greatest(ahead.forecast - quantile.z * ahead.deviation, (_ets_interval.model ->> 'least')::float8),
    greatest(ahead.forecast + quantile.z * ahead.deviation, (_ets_interval.model ->> 'least')::float8)
  from ml._ets_ahead(_ets_interval.model, _ets_interval.steps) as ahead
  cross join (select ml.normal_quantile((1 + _ets_interval.confidence) / 2) as z) as quantile;
end;

comment on function ml._ets_interval(jsonb, int, float8) is $$
Returns each of the next `steps` values of a model of ml._ets_model with the interval that contains it.
`confidence` is the probability that it does. None is below the least value of the model, which is 0 for counts and
for multiplicative models.
$$;

grant execute on function
  ml._ets_ahead(jsonb, int),
  ml._ets_interval(jsonb, int, float8)
to insights_analyst, insights_admin, insights_worker;
