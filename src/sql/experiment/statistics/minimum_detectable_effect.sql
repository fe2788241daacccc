create or replace function experiment.minimum_detectable_effect(
  baseline jsonb,
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
  v_sign constant int := case when v_plan.side = 'less' then -1 else 1 end;
  v_most float8 := 1e30;
  v_low float8 := 0;
  v_high float8;
  v_middle float8;
begin
  perform experiment._check_users(users);
  if v_plan.type = 'proportion' then
    v_most := case when v_sign < 0 then v_plan.mean else 1 - v_plan.mean end;
    if v_plan.difference = 'relative' then
      v_most := v_most / v_plan.mean;
    end if;
  end if;
  v_high := least(
    sqrt(v_plan.variance / users[1]) / case when v_plan.difference = 'relative' then abs(v_plan.mean) else 1 end,
    v_most
  );
  while experiment._power(v_plan, v_sign * v_high, users[1], users[2]) < v_plan.power loop
    -- a relative effect of 1e6 is as detectable as any larger one
    if v_high >= v_most or v_plan.difference = 'relative' and v_high > 1e6 then
      perform common.refuse('CF004', format('%s and %s users find no effect with power %s', users[1], users[2],
        v_plan.power), 'Give more users.');
    end if;
    v_low := v_high;
    v_high := least(2 * v_high, v_most);
  end loop;
  for step in 1..200 loop
    v_middle := (v_low + v_high) / 2;
    exit when v_high - v_low <= 1e-13 * v_high or v_middle <= v_low or v_middle >= v_high;
    if experiment._power(v_plan, v_sign * v_middle, users[1], users[2]) < v_plan.power then
      v_low := v_middle;
    else
      v_high := v_middle;
    end if;
  end loop;
  return v_sign * v_high;
end;
$$;

comment on function experiment.minimum_detectable_effect(jsonb, float8[], jsonb) is $$
Returns the smallest effect that an experiment with the given users finds with a given power.
The arguments are those of `experiment.power`, with the option `power` (0.8). CF004 when it finds no effect.
$$;

grant execute on function experiment.minimum_detectable_effect(jsonb, float8[], jsonb)
to insights_reader, insights_analyst, insights_admin, insights_worker;
