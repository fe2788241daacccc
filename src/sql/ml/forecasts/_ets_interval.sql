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
