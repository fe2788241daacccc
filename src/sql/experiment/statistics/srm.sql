create or replace function experiment.srm(users float8[], weights float8[])
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_number float8;
  v_total_users float8 := 0;
  v_total_weight float8 := 0;
  v_arms int := 0;
  v_has_null boolean;
  v_parts experiment.drawn[];
  v_expected float8;
  v_statistic float8 := 0;
begin
  if users is null or weights is null or cardinality(users) > cardinality(weights)
    or array_lower(users, 1) <> 1 or array_lower(weights, 1) <> 1
    or array_ndims(weights) = 2 and (
      array_length(users, 1) <> array_length(weights, 1) or array_length(users, 2) <> array_length(weights, 2)
      or array_lower(users, 2) <> 1 or array_lower(weights, 2) <> 1
      or array_length(weights, 2) > 100 or cardinality(weights)::bigint * array_length(weights, 2) > 1000000
    ) is not false
    or coalesce(array_ndims(weights), 1) = 1 and (coalesce(array_ndims(users), 1) > 1 or cardinality(weights) > 1000)
    or array_ndims(weights) > 2
  then
    perform common.refuse('CF001',
      format('there are %s numbers of users and %s weights', coalesce(cardinality(users)::text, 'no'),
        coalesce(cardinality(weights)::text, 'no')),
      'Give the users and the weight of each variation, of at most 1000; over several periods with other weights, a '
      'row of each period, of at most 100 variations, and 1000000 / the square of their number periods.');
  end if;
  v_has_null := exists (select from unnest(weights) as entry (weight) where entry.weight is null);
  foreach v_number in array users || weights loop
    if v_number < 0 or v_number = 'NaN' or v_number > 1e30 or v_number > 0 and v_number < 1e-30
      or v_number is null and v_has_null then
      perform common.refuse('CF001', format('a number of users or a weight is %s', coalesce(v_number::text, 'null')),
        'Give 0, or numbers from 1e-30 to 1e30.');
    end if;
  end loop;
  if array_ndims(weights) = 2 then
    v_parts := experiment._drawn(users, weights);
    return experiment._mismatch_p(experiment._added_drawn(v_parts), v_parts);
  end if;
  -- a variation without weight, or whose users are not known, is not tested
  for i in 1..cardinality(users) loop
    if weights[i] > 0 and users[i] is not null then
      v_arms := v_arms + 1;
      v_total_users := v_total_users + users[i];
      v_total_weight := v_total_weight + weights[i];
    end if;
  end loop;
  if v_arms < 2 or v_total_users = 0 then
    return 1;
  end if;
  for i in 1..cardinality(users) loop
    if weights[i] > 0 and users[i] is not null then
      v_expected := weights[i] / v_total_weight * v_total_users;
      v_statistic := v_statistic + (users[i] - v_expected) / v_expected * (users[i] - v_expected);
    end if;
  end loop;
  return experiment._chi_squared_tail(v_statistic, v_arms - 1);
end;
$$;

comment on function experiment.srm(float8[], float8[]) is $$
Returns the p-value of a sample ratio mismatch: of users whose numbers differ from the weights by chance.
A chi-squared test over the variations with a weight above 0; 1 with fewer than two of them, or without users. A value
below 0.001 means that assignment or logging is broken: the results should not be used.
When the weights changed, as those of a bandit do, give an array of two dimensions: a row of users and of weights of
each period. The differences are added up over the periods, and compared with the sum of their covariances; and they are
compared with each other, so that opposite errors of two periods do not cancel out. Consecutive periods are one until
each variation is expected to have 10 users.
$$;

grant execute on function experiment.srm(float8[], float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._chi_squared_tail(x float8, degrees int)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_half constant float8 := x / 2;
  v_term float8;
  v_sum float8;
begin
  if x <= 0 then
    return 1;
  elsif v_half > 700 then
    return case when v_half > degrees + 700 then 0 else 1 - ml.chi_squared_cdf(x, degrees) end;
  elsif degrees > 100 then
    return 1 - ml.chi_squared_cdf(x, degrees);
  end if;
  -- positive terms, so that a small tail keeps its digits (Abramowitz and Stegun 26.4.4 and 26.4.5)
  if degrees % 2 = 0 then
    v_term := exp(-v_half);
    v_sum := v_term;
    for k in 1..degrees / 2 - 1 loop
      v_term := v_term * v_half / k;
      v_sum := v_sum + v_term;
    end loop;
  else
    v_sum := 2 * ml.normal_cdf(-sqrt(x));
    v_term := exp(-v_half) * sqrt(v_half) * 2 / sqrt(pi());
    for k in 1..degrees / 2 loop
      v_sum := v_sum + v_term;
      v_term := v_term * v_half / (k + 0.5);
    end loop;
  end if;
  return least(v_sum, 1);
end;
$$;

comment on function experiment._chi_squared_tail(float8, int) is $$
Returns the probability that a chi-squared variable is above x.
$$;

grant execute on function experiment._chi_squared_tail(float8, int)
to insights_reader, insights_analyst, insights_admin, insights_worker;
