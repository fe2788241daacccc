create or replace function ml._arima_bounded(
  free float8[],
  sign int
)
returns float8[]
language sql
immutable
parallel safe
begin atomic
  select coalesce(array_agg(_arima_bounded.sign * entry.coefficient order by entry.place), '{}')
  from unnest(
    ml._unreflected(
      array(
        select 0.9999999 * tanh(part.value)
        from unnest(_arima_bounded.free) with ordinality as part (value, place)
        order by part.place
      )
    )
  ) with ordinality as entry (coefficient, place);
end;

comment on function ml._arima_bounded(float8[], int) is $$
Returns the coefficients of a stationary autoregression (`sign` 1) or an invertible moving average (−1).
They are computed from unbounded numbers, whose hyperbolic tangents are the partial autocorrelations.
$$;
