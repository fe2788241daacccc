create or replace function monitor.evidence_of_loss(
  difference float8,
  standard_error float8,
  former_standard_error float8,
  alpha float8 default 0.05
)
returns float8
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_log float8;
  v_mixture float8;
  v_share float8;
  v_z float8;
begin
  -- NaN is greater than any number.
  if alpha < 1e-300 or alpha >= 1 then
    perform common.refuse('CF001', format('alpha is %s', alpha), 'Give a probability between 0 and 1, such as 0.05.');
  end if;
  if abs(difference) > 1e50 or standard_error > 1e50 or former_standard_error > 1e50 then
    perform common.refuse(
      'CF001',
      format(
        'the difference is %s, the standard errors are %s and %s', difference, standard_error, former_standard_error
      ),
      'Give numbers of at most 1e50.'
    );
  end if;
  if standard_error < 1e-50 or former_standard_error < 1e-50 then
    return 0;
  end if;
  -- The mixture is narrowest at half of the information that there can be: the former version has no more lists.
  v_log := -2 * ln(alpha);
  v_mixture := (v_log + ln(v_log + 1)) * (former_standard_error / standard_error) ^ 2 * 2;
  v_share := v_mixture / (1 + v_mixture);
  -- The square of a smaller one is not a number of this type.
  v_z := case when abs(difference) < 1e-50 * standard_error then 0 else -difference / standard_error end;
  return 2 / sqrt(1 + v_mixture) * exp(least(v_z ^ 2 * v_share / 2, 600)) * ml.normal_cdf(v_z * sqrt(v_share));
end;
$$;

comment on function monitor.evidence_of_loss(float8, float8, float8, float8) is $$
Returns the evidence that a difference is below 0, valid at any number of readings: an e-value.
If the difference is 0 or more, the probability that it ever reaches 1 / alpha, at whatever times it is read, is at most
alpha. It is the supermartingale of half-normal mixtures (Robbins, Annals of Mathematical Statistics 1970; Howard and
others, Annals of Statistics 2021, proposition 6) of the score of a growing sample against a fixed one, in the time of
its information, 1 / variance (Jennison and Turnbull, Journal of the American Statistical Association 1997).
`former_standard_error`: that of the fixed sample. 0 where a standard error is 0.
Errors: CF001 for an alpha that is not between 0 and 1, and for numbers above 1e50.
$$;

grant execute on function monitor.evidence_of_loss(float8, float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
