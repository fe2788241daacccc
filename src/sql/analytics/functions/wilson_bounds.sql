create or replace function analytics.wilson_bounds(successes bigint, trials bigint, z float8)
returns float8[]
language sql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select array[greatest(0, score.centre - score.half_width), least(1, score.centre + score.half_width)]
  from (select successes::float8 / nullif(trials, 0) as rate) as given
  cross join lateral (
    select
      (given.rate + z ^ 2 / (2 * trials)) / (1 + z ^ 2 / trials) as centre,
      z * sqrt(given.rate * (1 - given.rate) / trials + z ^ 2 / (4 * trials::float8 ^ 2))
        / (1 + z ^ 2 / trials) as half_width
  ) as score
  where trials > 0;
$$;

comment on function analytics.wilson_bounds(bigint, bigint, float8) is $$
@behavior -*
Returns the lower and the upper bound of a rate by Wilson's score interval; null without trials.
`z`: quantile of the normal distribution, 1.96 for a confidence of 95 %.
Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
Statistical Association 22 (1927), without continuity correction: method 3 of R. G. Newcombe, Statistics in Medicine 17
(1998), 857-872.
$$;

grant execute on function analytics.wilson_bounds(bigint, bigint, float8) to insights_reader;
