create or replace function experiment.compare(control jsonb, treatment jsonb, options jsonb default '{}')
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
set extra_float_digits to 1
as $$
declare
  v_options constant experiment.comparison := experiment._comparison(options, array['margin']);
  v_arms constant experiment.statistic[] := experiment._pair(control, treatment, 'control', 'treatment');
begin
  return experiment._answer(
    experiment._effect(experiment._with_theta(v_arms), v_options.difference = 'relative', v_options.margin), v_options,
    v_arms[1].type
  );
end;
$$;

comment on function experiment.compare(jsonb, jsonb, jsonb) is $$
Returns the difference of a treatment to its control with an interval and a p-value, from sufficient statistics.
A statistic is `{"type": "proportion", "n", "sum"}`, `{"type": "mean", "n", "sum", "sum_squares"}`, `{"type": "ratio",
"n", "numerator": {"sum", "sum_squares"}, "denominator": {…}, "sum_products"}` or `{"type": "quantile", "n", "n_star",
"nu", "quantile_hat", "quantile_lower", "quantile_upper"}`, clustered with `n_clusters`, `main_sum`, `main_sum_squares`,
`denominator_sum`, `denominator_sum_squares` and `main_denominator_sum_product`. With the time before the exposure
(CUPED): `before` and `sum_products_before`, or of a ratio `numerator_before`, `denominator_before` and `products`.
Options: `test` (`welch`, `sequential`, `bayesian`), `side` (`both`, `greater`, `less`), `difference` (`relative`,
`absolute`, `scaled` with `traffic`, `days`, `users`), `alpha`, `tuning`, `prior` (`mean`, `variance`, `proper`: flat
unless true), `prior_type`, `inverse`, `margin`.
With a `margin` (non-inferiority), `p` is that of the hypothesis that the difference is `margin` * |control|, such as
-0.02 for 2 % less, and `chance_to_win` the probability that it is above (`inverse`: below). It is tested on treatment
- (1 + margin) * control, which is linear, so that a control near 0 makes it no less certain; the interval has the
standard error of this test, and excludes the margin exactly when `p` is below `alpha`. An arm whose outcomes are all
equal then has the variance of the other arm.
The answer has `effect`, `stddev`, `low`, `high` (null: no bound) and `p`, or `chance_to_win` and `risk` (expected loss
of keeping the control, of choosing the treatment). The numbers are those of gbstats 0.8.0; see the README.
CF004 for too few users, CF007 without variance or for a control of mean 0.
$$;

grant execute on function experiment.compare(jsonb, jsonb, jsonb)
to insights_reader, insights_analyst, insights_admin, insights_worker;
