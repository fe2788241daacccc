create or replace function analytics.wilson_bounds(successes bigint, trials bigint, z float8)
returns float8[]
language sql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  -- A condition does not keep the planner from dividing constants.
  select array[greatest(0, score.centre - score.half_width), least(1, score.centre + score.half_width)]
  from (select nullif(trials, 0)::float8 as trials) as given
  cross join lateral (
    select
      (successes / given.trials + z ^ 2 / (2 * given.trials)) / (1 + z ^ 2 / given.trials) as centre,
      z * sqrt(
        successes / given.trials * (1 - successes / given.trials) / given.trials + z ^ 2 / (4 * given.trials ^ 2)
      ) / (1 + z ^ 2 / given.trials) as half_width
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
