create or replace function experiment.power(
  baseline jsonb,
  effect float8,
  users float8[],
  options jsonb default '{}'
)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_plan constant experiment.plan := experiment._plan(baseline, options);
begin
  perform experiment._check_effect(v_plan, effect), experiment._check_users(users);
  return experiment._power(v_plan, effect, users[1], users[2]);
end;
$$;

comment on function experiment.power(jsonb, float8, float8[], jsonb) is $$
Returns the probability that an experiment with the given users of control and treatment finds an effect.
The baseline is a statistic of the past as in `experiment.compare` (with the time before: the variance that it explains
is taken off), or `{"type": "proportion", "mean"}`, `{"type": "mean" or "ratio", "mean", "variance"}`, with the
`correlation` to the time before. Options: `test` (`welch`, or `sequential`: its last interval), `side`, `difference`
(`relative`, `absolute`), `alpha`, `tuning`.
Of a mean it is that of the t test for normal outcomes, otherwise of its normal approximation.
$$;

grant execute on function experiment.power(jsonb, float8, float8[], jsonb)
to insights_reader, insights_analyst, insights_admin, insights_worker;
