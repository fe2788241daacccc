create or replace function experiment._guard(
  arms experiment.arm[],
  variation smallint,
  options jsonb,
  is_adjusted boolean,
  is_lower_better boolean,
  margin float8,
  harm_alpha float8,
  out verdict text,
  out effect float8,
  out stddev float8,
  out low float8,
  out high float8
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_options jsonb := options || jsonb_build_object(
    'margin', case when is_lower_better then 1 else -1 end * coalesce(_guard.margin, 0)
  );
  v_better constant text := case when is_lower_better then 'less' else 'greater' end;
  v_worse constant text := case when is_lower_better then 'greater' else 'less' end;
  v_safe jsonb;
  v_bound jsonb;
  v_harm jsonb;
begin
  v_safe := (
    experiment._compare_arms(arms, variation, v_options || jsonb_build_object('side', v_better), is_adjusted)
  ).answer;
  if v_safe is null then
    -- A control of 0 has no relative difference, but a variation may be worse than it all the same.
    v_options := v_options || '{"difference": "absolute"}';
    v_safe := (
      experiment._compare_arms(arms, variation, v_options || jsonb_build_object('side', v_better), is_adjusted)
    ).answer;
  else
    v_bound := (
      experiment._compare_arms(arms, variation, v_options || jsonb_build_object('side', v_worse), is_adjusted)
    ).answer;
    effect := v_safe ->> 'effect';
    stddev := v_safe ->> 'stddev';
    low := case when is_lower_better then v_bound else v_safe end ->> 'low';
    high := case when is_lower_better then v_safe else v_bound end ->> 'high';
  end if;
  -- Any of several guardrails in any variation stops the experiment, so that they share the level.
  v_harm := (
    experiment._compare_arms(
      arms, variation, v_options || jsonb_build_object('side', v_worse, 'alpha', harm_alpha), is_adjusted
    )
  ).answer;
  verdict := case
    when coalesce((v_harm ->> 'p')::float8 < harm_alpha, (v_harm ->> 'chance_to_win')::float8 < harm_alpha)
      then 'harm'
    when coalesce(
      (v_safe ->> 'p')::float8 < (options ->> 'alpha')::float8,
      (v_safe ->> 'chance_to_win')::float8 > 1 - (options ->> 'alpha')::float8
    )
      then 'safe'
    else 'unclear'
  end;
end;
$$;

comment on function experiment._guard(
  experiment.arm[], smallint, jsonb, boolean, boolean, float8, float8
) is $$
@behavior -*
Tests whether a variation is worse than the control by more than the margin of a guardrail, and whether it is not.
Two tests of one side at the same margin (`margin` of `experiment.compare`), the first at the level `harm_alpha`.
`low` and `high` are the bounds of these tests at the level of the options, each by itself; null with `effect` and
`stddev` where the difference is relative and the control is 0.
$$;

grant execute on function experiment._guard(
  experiment.arm[], smallint, jsonb, boolean, boolean, float8, float8
)
to insights_reader;
