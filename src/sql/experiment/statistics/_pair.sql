create or replace function experiment._pair(control jsonb, treatment jsonb, control_place text, treatment_place text)
returns experiment.statistic[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_control constant experiment.statistic := experiment._statistic(control, control_place);
  v_treatment constant experiment.statistic := experiment._statistic(treatment, treatment_place);
  v_names constant text[] := array[left(control_place, 100), left(treatment_place, 100)];
begin
  if v_control.type <> v_treatment.type or v_control.is_adjusted <> v_treatment.is_adjusted
    or v_control.is_binary <> v_treatment.is_binary then
    perform common.refuse('CF001',
      format('%s is a %s%s, and %s a %s%s', v_names[1], v_control.type,
        case when v_control.is_adjusted then ' with the time before' else '' end, v_names[2], v_treatment.type,
        case when v_treatment.is_adjusted then ' with the time before' else '' end),
      'Give the same metric of both arms.');
  elsif v_control.level <> v_treatment.level then
    perform common.refuse('CF001',
      format('nu of %s is %s, and of %s %s', v_names[1], v_control.level, v_names[2], v_treatment.level),
      'Give the same quantile of both arms.');
  end if;
  return array[v_control, v_treatment];
end;
$$;

comment on function experiment._pair(jsonb, jsonb, text, text) is $$
Returns the checked statistics of control and treatment; CF001 unless they are of one metric.
$$;

grant execute on function experiment._pair(jsonb, jsonb, text, text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
