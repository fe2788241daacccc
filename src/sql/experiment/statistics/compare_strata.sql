create or replace function experiment.compare_strata(strata jsonb, options jsonb default '{}')
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
set extra_float_digits to 1
as $$
declare
  v_options constant experiment.comparison := experiment._comparison(options, array['pool', 'margin']);
  v_is_relative constant boolean := v_options.difference = 'relative';
  v_controls experiment.statistic[] := '{}';
  v_treatments experiment.statistic[] := '{}';
  v_arms experiment.statistic[];
  v_effect experiment.effect;
begin
  if strata is null or jsonb_typeof(strata) <> 'array' or jsonb_array_length(strata) not between 1 and 1000 then
    perform common.refuse('CF001', format('strata is %s', coalesce(left(strata::text, 100), 'null')),
      'Give an array of 1 to 1000 pairs: [[control, treatment], …].');
  end if;
  for s in 1..jsonb_array_length(strata) loop
    if jsonb_typeof(strata -> s - 1) <> 'array' or jsonb_array_length(strata -> s - 1) <> 2 then
      perform common.refuse('CF001', format('stratum %s is %s', s, left((strata -> s - 1)::text, 100)),
        'Give a pair: [control, treatment].');
    end if;
    v_arms := experiment._pair(
      strata -> s - 1 -> 0,
      strata -> s - 1 -> 1,
      format('control of stratum %s', s),
      format('treatment of stratum %s', s)
    );
    if v_arms[1].type = 'quantile' and jsonb_array_length(strata) > 1 then
      perform common.refuse('CF001', format('stratum %s has a quantile', s), 'Quantiles cannot be added up.');
    elsif s > 1 and (
      v_arms[1].type <> v_controls[1].type or v_arms[1].is_adjusted <> v_controls[1].is_adjusted
      or v_arms[1].is_binary <> v_controls[1].is_binary
    ) then
      perform common.refuse('CF001', format('stratum %s is of another metric than stratum 1', s),
        'Give the same metric in all strata.');
    end if;
    v_controls := v_controls || v_arms[1];
    v_treatments := v_treatments || v_arms[2];
  end loop;

  -- A single stratum keeps its theta; otherwise it is computed from the sums.
  if cardinality(v_controls) > 1 then
    v_arms := array[experiment._sum(v_controls), experiment._sum(v_treatments)];
  end if;
  v_effect := experiment._effect(experiment._with_theta(v_arms), v_is_relative, v_options.margin);
  if not v_options.is_pooled and cardinality(v_controls) > 1 then
    if experiment._has_constant_before(v_arms) then
      for s in 1..cardinality(v_controls) loop
        v_controls[s] := experiment._unadjusted(v_controls[s]);
        v_treatments[s] := experiment._unadjusted(v_treatments[s]);
      end loop;
    end if;
    v_effect := experiment._post_stratified(
      v_effect, v_controls, v_treatments, v_is_relative, v_options.margin
    );
  end if;
  return experiment._answer(v_effect, v_options, v_arms[1].type)
    || jsonb_build_object('post_stratified', v_effect.is_post_stratified);
end;
$$;

comment on function experiment.compare_strata(jsonb, jsonb) is $$
Returns the difference of treatment and control over strata of users, such as countries: [[control, treatment], …].
Post-stratified: the differences of the strata are weighted by their users, so that a stratum that is more frequent in
one arm by chance does not bias the difference. A stratum without variance in an arm is added to the largest one. With
the option `pool`, all strata are added up instead. The other options and the answer are those of
`experiment.compare`; `post_stratified` is false where the strata were added up.
$$;

grant execute on function experiment.compare_strata(jsonb, jsonb)
to insights_reader, insights_analyst, insights_admin, insights_worker;
