create or replace function experiment._quantile_variance(statistic experiment.statistic)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_variance float8;
  v_clusters constant float8 := statistic.n_clusters;
  v_main float8;
  v_size float8;
  v_covariances float8[];
  v_gradient float8[];
begin
  if statistic.n <= 1 then
    return 0;
  end if;
  v_variance := statistic.n_star::float8 / statistic.n::float8 * (statistic.n - 1)::float8
    * ((statistic.quantile_upper - statistic.quantile_lower) / (2 * ml.normal_quantile(0.975))) ^ 2;
  if v_clusters is null then
    return v_variance;
  elsif v_clusters <= 1 or statistic.sums[2] <= 0 then
    return 0;
  end if;
  -- The variance of the share of events below the quantile, by the delta method over users, against independent events.
  v_main := statistic.sums[1]::float8 / v_clusters;
  v_size := statistic.sums[2]::float8 / v_clusters;
  v_covariances := experiment._covariances(
    row(
      'ratio', false, statistic.n_clusters, statistic.is_binary, statistic.sums, statistic.products,
      null, null, null, null, null, null, null
    )::experiment.statistic
  );
  v_gradient := array[1 / v_size, -v_main / v_size / v_size];
  return v_variance * statistic.n::float8 / (statistic.level * (1 - statistic.level) * v_clusters)
    * experiment._bilinear(v_covariances, v_gradient, v_gradient);
end;
$$;

comment on function experiment._quantile_variance(experiment.statistic) is $$
Returns the variance of one observation of a quantile, from the width of its interval.
With clusters, it is multiplied by their design effect.
$$;

grant execute on function experiment._quantile_variance(experiment.statistic)
to insights_reader, insights_analyst, insights_admin, insights_worker;
