create or replace function experiment.moments(statistic jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
set extra_float_digits to 1
as $$
declare
  v_estimate constant experiment.estimate := experiment._estimate(experiment._statistic(statistic, 'statistic'));
begin
  return jsonb_build_object(
    'mean', v_estimate.mean,
    'variance', v_estimate.variance,
    'unadjusted_mean', v_estimate.unadjusted_mean
  );
end;
$$;

comment on function experiment.moments(jsonb) is $$
Returns `mean`, `variance` and `unadjusted_mean` of the sufficient statistics of one arm; see `experiment.compare`.
The variance is of one observation: n - 1 degrees of freedom for means, p (1 - p) for proportions, the delta method for
ratios. It is 0 for one observation. A mean with `before` is adjusted with the given `theta`, or 0 without one.
$$;

grant execute on function experiment.moments(jsonb)
to insights_reader, insights_analyst, insights_admin, insights_worker;
