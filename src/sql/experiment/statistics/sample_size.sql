create or replace function experiment.sample_size(
  baseline jsonb,
  effect float8,
  options jsonb default '{}'
)
returns bigint[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_plan constant experiment.plan := experiment._plan(baseline, options);
  v_least constant float8 := greatest(2, ceil(2 / v_plan.allocation));
  v_low float8 := v_least - 1;
  v_high float8 := v_least;
  v_middle float8;
begin
  perform experiment._check_effect(v_plan, effect);
  while experiment._power(v_plan, effect, v_high, ceil(v_high * v_plan.allocation)) < v_plan.power loop
    v_low := v_high;
    v_high := 2 * v_high;
    if v_high > 1e12 then
      perform common.refuse('CF004', format('the effect %s needs more than 1e12 users', effect),
        'Give a larger effect, or a smaller power.');
    end if;
  end loop;
  while v_high - v_low > 1 loop
    v_middle := floor((v_low + v_high) / 2);
    if experiment._power(v_plan, effect, v_middle, ceil(v_middle * v_plan.allocation)) < v_plan.power then
      v_low := v_middle;
    else
      v_high := v_middle;
    end if;
  end loop;
  return array[v_high, ceil(v_high * v_plan.allocation)]::bigint[];
end;
$$;

comment on function experiment.sample_size(jsonb, float8, jsonb) is $$
Returns the users of control and treatment with which an experiment finds an effect with a given power.
The arguments are those of `experiment.power`, with the options `power` (0.8) and `allocation` (1): users of the
treatment for each user of the control.
$$;

grant execute on function experiment.sample_size(jsonb, float8, jsonb)
to insights_reader, insights_analyst, insights_admin, insights_worker;
