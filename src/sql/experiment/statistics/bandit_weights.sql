create or replace function experiment.bandit_weights(arms jsonb, options jsonb default '{}')
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_options constant jsonb := case when coalesce(options, 'null') = 'null' then '{}' else options end;
  v_count int;
  v_arms experiment.statistic[] := '{}';
  v_method text;
  v_posterior text;
  v_floor float8;
  v_least float8;
  v_is_inverse boolean;
  v_parameters float8[];
  v_chances float8[];
  v_result float8[];
begin
  perform experiment._refuse_unknown(
    v_options, 'options', array['method', 'posterior', 'prior', 'minimum_weight', 'minimum_users', 'inverse']
  );
  v_method := experiment._word_option(v_options, 'method', 'thompson', array['thompson', 'top_two']);
  v_posterior := experiment._word_option(v_options, 'posterior', 'gaussian', array['gaussian', 'beta']);
  v_floor := experiment._number_option(v_options, 'minimum_weight', 0.01);
  v_least := experiment._number_option(v_options, 'minimum_users', 100);
  v_is_inverse := experiment._boolean_option(v_options, 'inverse', false);
  if arms is null or jsonb_typeof(arms) <> 'array' or jsonb_array_length(arms) not between 2 and 50 then
    perform common.refuse('CF001', format('arms is %s', coalesce(left(arms::text, 100), 'null')),
      'Give an array of the statistics of 2 to 50 arms.');
  elsif not (v_floor >= 0 and v_floor <= 1) then
    perform common.refuse('CF001', format('minimum_weight is %s', v_floor), 'Give a number from 0 to 1.');
  elsif not (v_least >= 0) then
    perform common.refuse('CF001', format('minimum_users is %s', v_least), 'Give a number from 0.');
  end if;
  v_count := jsonb_array_length(arms);
  for i in 1..v_count loop
    v_arms := v_arms || experiment._statistic(arms -> i - 1, format('arm %s', i));
    if v_arms[i].type = 'quantile' or v_arms[i].type <> v_arms[1].type
      or v_arms[i].is_adjusted <> v_arms[1].is_adjusted or v_arms[i].is_binary <> v_arms[1].is_binary then
      perform common.refuse('CF001', format('arm %s is a %s, and arm 1 a %s', i, v_arms[i].type, v_arms[1].type),
        'Give the same proportion, mean or ratio of all arms.');
    end if;
  end loop;
  if exists (select from unnest(v_arms) as arm where arm.n < v_least) then
    return null;
  end if;
  v_parameters := case v_posterior
    when 'beta' then experiment._beta_posteriors(v_arms, v_options -> 'prior', v_is_inverse)
    else experiment._gaussian_posteriors(v_arms, v_options -> 'prior', v_is_inverse)
  end;
  if v_parameters is null then
    return null;
  end if;
  v_chances := experiment._best_arms(v_parameters[1:v_count], v_parameters[v_count + 1:], v_posterior = 'beta');
  v_result := v_chances[1:v_count];
  if v_method = 'top_two' then
    for i in 1..v_count loop
      v_result[i] := (v_chances[i] + v_chances[v_count + i]) / 2;
    end loop;
  end if;
  for i in 1..v_count loop
    v_result[i] := case
      when v_floor * v_count >= 1 then 1 / v_count::float8
      else v_floor + (1 - v_floor * v_count) * v_result[i]
    end;
  end loop;
  return v_result;
end;
$$;

comment on function experiment.bandit_weights(jsonb, jsonb) is $$
Returns the weights of the arms of a bandit from their sufficient statistics (see `experiment.compare`).
Options: `method` (`thompson`: the probability that an arm is the best; `top_two`: half the probability that it is the
best or the second best), `posterior` (`gaussian` of the mean; `beta` of a proportion), `prior` (`mean`, `variance`,
`proper`: flat unless true; of `beta`: `alpha` and `beta`, 1 each), `minimum_weight` f (0.01; each weight w becomes
f + (1 - n f) w, or all are equal where n f is 1 or more), `minimum_users` (100), `inverse` (less is better).
Null while an arm has fewer than `minimum_users`, or outcomes that do not differ and a flat prior: keep the present
weights. The probabilities are computed by numerical integration, without random numbers: the same statistics give the
same weights.
$$;

grant execute on function experiment.bandit_weights(jsonb, jsonb)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._gaussian_posteriors(
  arms experiment.statistic[],
  prior jsonb,
  is_inverse boolean
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_prior constant jsonb := case when coalesce(prior, 'null') = 'null' then '{}' else prior end;
  v_mean float8;
  v_variance float8;
  v_is_proper boolean;
  v_arms constant experiment.statistic[] := experiment._with_theta(arms);
  v_estimate experiment.estimate;
  v_error float8;
  v_share float8;
  v_means float8[] := '{}';
  v_deviations float8[] := '{}';
begin
  perform experiment._refuse_unknown(v_prior, 'prior', array['mean', 'variance', 'proper']);
  v_mean := experiment._number_option(v_prior, 'mean', 0);
  v_variance := experiment._number_option(v_prior, 'variance', 1);
  v_is_proper := experiment._boolean_option(v_prior, 'proper', false);
  if v_is_proper and not v_variance > 0 then
    perform common.refuse('CF001', format('variance of prior is %s', v_variance), 'Give a number above 0.');
  end if;
  for i in 1..cardinality(v_arms) loop
    v_estimate := experiment._estimate(v_arms[i]);
    if not v_estimate.variance > 0 then
      -- an arm without variance has no data, as in gbstats: the prior remains
      if not v_is_proper then
        return null;
      end if;
      v_means := v_means || v_mean;
      v_deviations := v_deviations || sqrt(v_variance);
    else
      v_error := v_estimate.variance / v_estimate.n;
      v_share := case when v_is_proper then v_variance / (v_variance + v_error) else 1 end;
      v_means := v_means || (v_share * v_estimate.mean + (1 - v_share) * v_mean);
      v_deviations := v_deviations || sqrt(v_share * v_error);
    end if;
    v_means[i] := v_means[i] * case when is_inverse then -1 else 1 end;
  end loop;
  return v_means || v_deviations;
end;
$$;

comment on function experiment._gaussian_posteriors(experiment.statistic[], jsonb, boolean) is $$
Returns the means and then the standard deviations of the means of the arms; negative means where less is better.
Null when an arm has neither a variance nor a prior.
$$;

grant execute on function experiment._gaussian_posteriors(experiment.statistic[], jsonb, boolean)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._beta_posteriors(arms experiment.statistic[], prior jsonb, is_inverse boolean)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_prior constant jsonb := case when coalesce(prior, 'null') = 'null' then '{}' else prior end;
  v_alpha float8;
  v_beta float8;
  v_arm experiment.statistic;
  v_successes float8[] := '{}';
  v_failures float8[] := '{}';
begin
  perform experiment._refuse_unknown(v_prior, 'prior', array['alpha', 'beta']);
  v_alpha := experiment._number_option(v_prior, 'alpha', 1);
  v_beta := experiment._number_option(v_prior, 'beta', 1);
  if not (v_alpha >= 0.5 and v_alpha <= 1e12) or not (v_beta >= 0.5 and v_beta <= 1e12) then
    perform common.refuse('CF001', format('alpha of prior is %s and beta %s', v_alpha, v_beta),
      'Give numbers from 0.5 to 1e12.');
  elsif arms[1].type <> 'proportion' or arms[1].is_adjusted then
    perform common.refuse('CF001', format('posterior is beta, and the type %s', arms[1].type),
      'Give proportions without the time before, or posterior gaussian.');
  end if;
  foreach v_arm in array arms loop
    v_successes := v_successes || (v_alpha + v_arm.sums[1]::float8);
    v_failures := v_failures || (v_beta + (v_arm.n - v_arm.sums[1])::float8);
  end loop;
  return case when is_inverse then v_failures || v_successes else v_successes || v_failures end;
end;
$$;

comment on function experiment._beta_posteriors(experiment.statistic[], jsonb, boolean) is $$
Returns the first and then the second parameters of the Beta distributions of the arms; swapped where less is better.
$$;

grant execute on function experiment._beta_posteriors(experiment.statistic[], jsonb, boolean)
to insights_reader, insights_analyst, insights_admin, insights_worker;
