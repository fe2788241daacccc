create or replace function analytics._bayesian_average(
  mean float8, number_of bigint, prior_mean float8, prior_weight float8
)
returns float8
language sql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select (number_of * mean + prior_weight * prior_mean) / nullif(number_of + prior_weight, 0);
$$;

comment on function analytics._bayesian_average(float8, bigint, float8, float8) is $$
Returns a mean of few values drawn towards the mean of all: (v R + m C) / (v + m).
IMDb's weighted rating: R is the mean of v values, C the mean of all values, and m the number of values for which C
counts.
$$;

grant execute on function analytics._bayesian_average(float8, bigint, float8, float8) to insights_reader;
