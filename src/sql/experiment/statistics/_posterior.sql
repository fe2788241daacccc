create or replace function experiment._posterior(effect experiment.effect, options experiment.comparison)
returns experiment.effect
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result experiment.effect := effect;
  v_unit float8 := 1;
  v_prior_sd float8;
  v_share float8;
begin
  if not options.prior_is_proper then
    return effect;
  end if;
  -- the prior in the unit of the difference
  if options.difference = 'relative' and options.prior_type = 'absolute' then
    v_unit := 1 / abs(effect.control_mean);
  elsif options.difference <> 'relative' and options.prior_type = 'relative' then
    v_unit := abs(effect.control_mean);
  end if;
  v_prior_sd := sqrt(options.prior_variance) * v_unit;
  -- weight of the data; written with the smaller quotient, whose square cannot overflow
  v_share := case
    when effect.stddev <= v_prior_sd then 1 / (1 + greatest(effect.stddev / v_prior_sd, 1e-100) ^ 2)
    else 1 - 1 / (1 + greatest(v_prior_sd / effect.stddev, 1e-100) ^ 2)
  end;
  v_result.effect := v_share * effect.effect + (1 - v_share) * options.prior_mean * v_unit;
  v_result.stddev := case
    when effect.stddev <= v_prior_sd then effect.stddev * sqrt(v_share)
    else v_prior_sd * sqrt(1 - v_share)
  end;
  return v_result;
end;
$$;

comment on function experiment._posterior(experiment.effect, experiment.comparison) is $$
Returns mean and standard deviation of the difference after the data: a normal prior and a normal likelihood.
$$;

grant execute on function experiment._posterior(experiment.effect, experiment.comparison)
to insights_reader, insights_analyst, insights_admin, insights_worker;
