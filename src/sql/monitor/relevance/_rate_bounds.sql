create or replace function monitor._rate_bounds(successes float8, trials float8, effect float8)
returns float8[]
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_z constant float8 := ml.normal_quantile(0.975);
  v_trials constant float8 := trials / greatest(effect, 1);
  v_rate constant float8 := successes / nullif(trials, 0);
  v_half float8;
begin
  if trials = 0 then
    return null;
  end if;
  v_half := v_z * sqrt(v_rate * (1 - v_rate) / v_trials + v_z ^ 2 / (4 * v_trials ^ 2)) / (1 + v_z ^ 2 / v_trials);
  return array[
    greatest(0, (v_rate + v_z ^ 2 / (2 * v_trials)) / (1 + v_z ^ 2 / v_trials) - v_half),
    least(1, (v_rate + v_z ^ 2 / (2 * v_trials)) / (1 + v_z ^ 2 / v_trials) + v_half)
  ];
end;
$$;

comment on function monitor._rate_bounds(float8, float8, float8) is $$
@behavior -*
Returns the bounds of a 95 % interval of a rate of clustered trials: Wilson's for the effective number of trials.
That is their number divided by `effect`, the variance of the rate as a multiple of that of independent trials.
Franco and others, "Comparative study of confidence intervals for proportions in complex sample surveys", Journal of
Survey Statistics and Methodology 2019.
$$;

grant execute on function monitor._rate_bounds(float8, float8, float8) to insights_reader;
