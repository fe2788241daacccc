create or replace function experiment._policy_value(
  variations smallint[],
  probabilities float8[],
  outcomes float8[],
  weights float8[]
)
returns experiment.policy_value
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_total record;
  v_value experiment.policy_value;
begin
  v_value.weights := _policy_value.weights;
  select
    count(*) as people,
    coalesce(sum(person.weight), 0) as weight,
    sum(person.weight * person.weight) as squares,
    sum(person.weight * person.outcome) as outcome
  into v_total
  from (
    select coalesce(_policy_value.weights[entry.variation + 1], 0) / entry.probability as weight, entry.outcome
    from unnest(_policy_value.variations, _policy_value.probabilities, _policy_value.outcomes)
      as entry (variation, probability, outcome)
  ) as person;
  v_value.people := v_total.people;
  v_value.mean_weight := v_total.weight / nullif(v_total.people, 0);
  v_value.effective_sample_size := coalesce(v_total.weight ^ 2 / nullif(v_total.squares, 0), 0);
  v_value.ips := v_total.outcome / nullif(v_total.people, 0);
  v_value.snips := v_total.outcome / nullif(v_total.weight, 0);
  if v_total.people >= 2 then
    select
      nullif(sqrt(sum((person.weight * person.outcome - v_value.ips) ^ 2) / (v_total.people - 1) / v_total.people), 0),
      nullif(
        sqrt(
          sum((person.weight * (person.outcome - v_value.snips)) ^ 2) * v_total.people / (v_total.people - 1)
        ) / nullif(v_total.weight, 0),
        0
      )
    into v_value.ips_standard_error, v_value.snips_standard_error
    from (
      select coalesce(_policy_value.weights[entry.variation + 1], 0) / entry.probability as weight, entry.outcome
      from unnest(_policy_value.variations, _policy_value.probabilities, _policy_value.outcomes)
        as entry (variation, probability, outcome)
    ) as person;
  end if;
  return v_value;
end;
$$;

comment on function experiment._policy_value(smallint[], float8[], float8[], float8[]) is $$
@behavior -*
Returns the estimates of the value of a policy of fixed weights.
They follow from the variation, the probability and the outcome of each person.
Sources: D. G. Horvitz and D. J. Thompson, Journal of the American Statistical Association 47 (1952), 663-685;
A. Swaminathan and T. Joachims, The self-normalized estimator for counterfactual learning, NIPS 2015.
$$;

/* A definer: it reads the outcomes of people, and returns figures about all of them. */
create or replace function experiment.off_policy_estimate(experiment text, weights float8[] default null)
returns setof experiment.policy_value
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_experiment constant experiment.experiment := experiment._find_experiment(off_policy_estimate.experiment);
  v_keys constant text[] := array(
    select known.variation_key
    from experiment.variation as known
    where known.experiment_id = v_experiment.experiment_id
    order by known.variation
  );
  v_count constant int := cardinality(v_keys);
  v_given constant float8[] := off_policy_estimate.weights;
  v_goal record;
  v_variations smallint[];
  v_probabilities float8[];
  v_outcomes float8[];
  v_policy record;
  v_value experiment.policy_value;
begin
  if v_given is not null and (
    cardinality(v_given) <> v_count or array_ndims(v_given) <> 1 or array_lower(v_given, 1) <> 1
    or array_position(v_given, null) is not null
    or not 0 <= all (v_given) or abs((select sum(given.weight) from unnest(v_given) as given (weight)) - 1) > 1e-9
  ) then
    perform common.refuse(
      'CF001', format('weights is %s', left(v_given::text, 100)),
      format('Give %s numbers from 0, one for each variation, whose sum is 1.', v_count)
    );
  end if;
  select metric.metric_key, metric.type, slot.* into v_goal
  from experiment.measured
  join experiment.metric using (metric_id)
  join experiment._slots(array[v_experiment.experiment_id]) as slot
    on slot.experiment_id = measured.experiment_id
    and slot.position = measured.position
  where measured.experiment_id = v_experiment.experiment_id
    and measured.role = 'goal'
  order by measured.position
  limit 1;
  if not found then
    perform common.refuse('CF003', format('the experiment "%s" has not started', v_experiment.experiment_key),
      'Start it first: estimates need outcomes of people.');
  elsif v_goal.type in ('ratio', 'quantile') then
    perform common.refuse(
      'CF007', format('the goal "%s" is a %s', v_goal.metric_key, v_goal.type),
      'The value of a policy is a mean per person: it is estimated for goals that are proportions, means or counts.'
    );
  end if;

  perform experiment._check_people(v_experiment.experiment_id);
  select
    array_agg(exposure.variation order by exposure.person_id),
    array_agg(exposure.probability order by exposure.person_id),
    array_agg(exposure.outcomes[v_goal.place]::float8 order by exposure.person_id)
  into v_variations, v_probabilities, v_outcomes
  from experiment.exposure
  where exposure.experiment_id = v_experiment.experiment_id
    and exposure.is_counted
    and exposure.variation is not null
    and exposure.probability > 0
    and (
      v_goal.period is null
      or exposure.exposed_at + v_goal.delay + v_goal.period <= least(now(), coalesce(v_experiment.stopped_at, now()))
    );

  for v_policy in
    select
      arm.variation_key as name,
      array(
        select case when n = arm.place then 1 else 0 end::float8
        from generate_series(1, v_count) as n
        order by n
      ) as weights,
      arm.place
    from unnest(v_keys) with ordinality as arm (variation_key, place)
    where v_given is null

    union all

    select
      case when v_given is null then 'equal' else 'given' end,
      coalesce(v_given, array_fill(1::float8 / v_count, array[v_count])),
      v_count + 1
    order by place
  loop
    v_value := experiment._policy_value(v_variations, v_probabilities, v_outcomes, v_policy.weights);
    v_value.policy := v_policy.name;
    return next v_value;
  end loop;
end;
$$;

comment on function experiment.off_policy_estimate(text, float8[]) is $$
Returns the mean outcome per person that other weights would have given, from the exposures of an experiment.
For the first goal; a row for each variation (all people in it) and for equal weights, or one for the given `weights`.
A person counts with the weight of the policy / the weight at the time of her exposure (`probability`), which corrects
for the changing weights of a bandit: `ips` is the mean of weight · outcome, `snips` divides by the sum of the weights.
Only people whose period is complete count. A `mean_weight` far from 1 means that the logged weights are not those by
which people were assigned.
Errors: CF001 for `weights`, CF002 for an unknown experiment (names the nearest), CF003 for a draft, CF007 for a goal
that is a ratio or a quantile, CF010 for an ended experiment whose exposures were deleted by retention.
$$;

grant execute on function experiment.off_policy_estimate(text, float8[]) to insights_admin, insights_worker;
