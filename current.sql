-- Changes of structure since the last release: see migrations/README.md.

-- ARIMA with a method; exponential smoothing with relative errors, and a reason for each series without a model.
drop function if exists ml.arima_train(text, text, text, text, text, boolean, int[], text);
drop function if exists ml._arima_filter(float8[], int[], float8[]);
drop function if exists ml._bounded(float8[], float8[]);
drop function if exists ml._series_fit(text, float8[], int[], float8[], float8[], int);
drop function if exists ml._series_residuals(text, float8[], int[], float8[], float8[]);
drop function if exists ml._ets_best(float8[], int, text, text, float8[]);
drop function if exists ml._ets_mean_error(jsonb, int, float8[], float8[], boolean);
drop function if exists ml._ets_filter(float8[], int[], float8[]);
drop function if exists ml._ets_holdout(float8[], float8[], int, text, text, float8[], int);
drop function if exists ml._ets_model(float8[], int, text, text, float8[], int);
comment on column ml.forecast_point.forecast_value is $$Expected value.$$;
comment on column ml.forecast_point.naive_value is $$
Seasonal-naive forecast: the last known value of this position in the cycle.
$$;
comment on column ml.forecast_point.method is $$
Shape of the model, such as `ETS(A,Ad,A)`: error, trend, season.
It is `naive` or `seasonal naive` where that is better on the last values.
$$;
comment on column analytics.forecast_point.method is $$
Shape of the model, such as `ETS(A,Ad,A)`: error, trend, season.
It is `naive` or `seasonal naive` where that is better on the last buckets.
$$;
