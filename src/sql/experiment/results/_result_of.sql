create or replace function experiment._moments(statistic jsonb)
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return experiment.moments(statistic);
exception
  when sqlstate 'CF001' or sqlstate 'CF004' or sqlstate 'CF007' or numeric_value_out_of_range then
    return null;
end;
$$;

comment on function experiment._moments(jsonb) is $$
@behavior -*
Returns `experiment.moments`, or null for a statistic that has none, such as a ratio to 0 or a sum of 1e300.
$$;

grant execute on function experiment._moments(jsonb) to insights_reader;

create or replace function experiment._result_of(
  result experiment.result,
  arms experiment.arm[],
  options jsonb,
  is_adjusted boolean,
  is_lower_better boolean,
  margin float8,
  harm_alpha float8
)
returns experiment.result
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result experiment.result := result;
  v_arm experiment.arm;
  v_moments jsonb;
  v_found record;
  v_other record;
  v_guard record;
begin
  v_result.people := 0;
  select * into v_arm
  from unnest(arms) as arm
  where arm.variation = v_result.variation_number
    and arm.stratum is null;
  if found then
    v_result.people := v_arm.people;
    v_moments := experiment._moments(v_arm.statistic);
    v_result.figure := v_moments ->> 'mean';
    if v_result.type not in ('ratio', 'quantile') then
      v_result.figure_stddev := sqrt((v_moments ->> 'variance')::float8);
    end if;
  end if;
  if v_result.variation_number = 0 then
    return v_result;
  end if;

  v_result.verdict := 'unclear';
  v_found := experiment._compare_arms(arms, v_result.variation_number, options, is_adjusted);
  if v_result.role = 'guardrail' then
    v_guard := experiment._guard(
      arms, v_result.variation_number, options, is_adjusted, is_lower_better, margin, harm_alpha
    );
    v_result.verdict := v_guard.verdict;
    v_result.effect := v_guard.effect;
    v_result.stddev := v_guard.stddev;
    v_result.low := v_guard.low;
    v_result.high := v_guard.high;
  end if;
  if v_found.answer is null then
    v_result.note := concat_ws(' ', v_result.note, v_found.note);
    return v_result;
  end if;
  if v_result.role <> 'guardrail' then
    v_result.effect := v_found.answer ->> 'effect';
    v_result.stddev := v_found.answer ->> 'stddev';
    v_result.low := v_found.answer ->> 'low';
    v_result.high := v_found.answer ->> 'high';
  end if;
  v_result.p := v_found.answer ->> 'p';
  v_result.chance_to_win := v_found.answer ->> 'chance_to_win';
  v_result.risk := v_found.answer -> 'risk' ->> 1;
  if is_adjusted and v_result.type <> 'quantile' then
    v_other := experiment._compare_arms(arms, v_result.variation_number, options, false);
    v_result.variance_reduction := 1 - (
      (v_found.answer ->> 'stddev')::float8 / nullif((v_other.answer ->> 'stddev')::float8, 0)
    ) ^ 2;
  end if;

  if v_result.role <> 'guardrail' and v_result.chance_to_win is not null then
    v_result.verdict := case
      -- Both sides together have alpha, as the interval.
      when v_result.chance_to_win > 1 - v_result.alpha / 2 then 'better'
      when v_result.chance_to_win < v_result.alpha / 2 then 'worse'
      else 'unclear'
    end;
  end if;
  return v_result;
end;
$$;

comment on function experiment._result_of(
  experiment.result, experiment.arm[], jsonb, boolean, boolean, float8, float8
) is $$
@behavior -*
Completes the result of a metric in a variation from the statistics of its arms.
The verdict of goals and secondary metrics follows from the p-value, after the correction for several of them.
`harm_alpha`: level of the test that a guardrail does harm.
$$;

grant execute on function experiment._result_of(
  experiment.result, experiment.arm[], jsonb, boolean, boolean, float8, float8
)
to insights_reader;
