create or replace function experiment._estimate(statistic experiment.statistic)
returns experiment.estimate
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant int := cardinality(statistic.sums);
  v_theta constant float8 := coalesce(statistic.theta, 0);
  v_means float8[];
  v_result experiment.estimate;
begin
  v_result.n := statistic.n::float8;
  if statistic.type = 'quantile' then
    v_result.mean := statistic.quantile_hat;
    v_result.unadjusted_mean := statistic.quantile_hat;
    v_result.variance := experiment._quantile_variance(statistic);
    v_result.gradient := array[1];
    v_result.covariances := array[v_result.variance];
    return v_result;
  end if;
  v_result.covariances := experiment._covariances(statistic);
  if statistic.n > 0 then
    select array_agg(sum::float8 / statistic.n::float8 order by position)
    into v_means
    from unnest(statistic.sums) with ordinality as variable (sum, position);
  else
    v_means := array_fill(0::float8, array[v_count]);
  end if;
  if statistic.type <> 'ratio' then
    v_result.unadjusted_mean := v_means[1];
    v_result.gradient := array[1];
    v_result.mean := v_means[1];
    if statistic.is_adjusted then
      v_result.mean := v_means[1] - v_theta * v_means[2];
      v_result.gradient := array[1, -v_theta];
    end if;
  elsif v_means[2] = 0 or v_means[4] = 0 then
    -- without a denominator there is no ratio
    v_result.mean := 0;
    v_result.unadjusted_mean := case when v_means[2] = 0 then 0 else v_means[1] / v_means[2] end;
    v_result.gradient := array_fill(0::float8, array[v_count]);
  else
    v_result.unadjusted_mean := v_means[1] / v_means[2];
    v_result.mean := v_result.unadjusted_mean;
    v_result.gradient := array[1 / v_means[2], -v_result.mean / v_means[2]];
    if statistic.is_adjusted then
      v_result.mean := v_result.mean - v_theta * (v_means[3] / v_means[4]);
      v_result.gradient := v_result.gradient
        || array[-v_theta / v_means[4], v_theta * (v_means[3] / v_means[4]) / v_means[4]];
    end if;
  end if;
  if statistic.type = 'ratio' and not statistic.is_adjusted and statistic.n > 1 and v_means[2] <> 0
    and statistic.is_binary[1] = statistic.is_binary[2] then
    -- the sum of squares of numerator - mean * denominator, times the squared sum of the denominator: exact, where the
    -- three terms of the delta method nearly cancel
    v_result.variance := (
      statistic.sums[2] * statistic.sums[2] * statistic.products[1]
      - 2 * statistic.sums[1] * statistic.sums[2] * statistic.products[2]
      + statistic.sums[1] * statistic.sums[1] * statistic.products[4]
    )::float8 / statistic.sums[2]::float8 / statistic.sums[2]::float8 / v_means[2] / v_means[2]
      / (statistic.n - case when statistic.is_binary[1] then 0 else 1 end)::float8;
  else
    v_result.variance := experiment._bilinear(v_result.covariances, v_result.gradient, v_result.gradient);
  end if;
  return v_result;
end;
$$;

comment on function experiment._estimate(experiment.statistic) is $$
Returns mean and variance of a statistic, with the gradient and the covariances of the delta method.
$$;

grant execute on function experiment._estimate(experiment.statistic)
to insights_reader, insights_analyst, insights_admin, insights_worker;
