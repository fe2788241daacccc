create or replace function experiment._check_effect(plan experiment.plan, effect float8)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_mean float8;
begin
  if effect is null or not (abs(effect) <= 1e30) or effect = 0
    or plan.side = 'greater' and effect < 0 or plan.side = 'less' and effect > 0 then
    perform common.refuse('CF001', format('effect is %s, and side %s', coalesce(effect::text, 'null'), plan.side),
      'Give the difference to find, other than 0 and on the tested side.');
  end if;
  if plan.type = 'proportion' then
    v_mean := plan.mean + effect * case when plan.difference = 'relative' then plan.mean else 1 end;
    if not (v_mean >= 0 and v_mean <= 1) then
      perform common.refuse('CF001', format('effect %s makes the proportion %s', effect, v_mean),
        'Give an effect with which the proportion is from 0 to 1.');
    end if;
  end if;
end;
$$;

comment on function experiment._check_effect(experiment.plan, float8) is $$
Raises CF001 unless an effect is possible and on the tested side.
$$;

grant execute on function experiment._check_effect(experiment.plan, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
