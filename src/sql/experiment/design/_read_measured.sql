create or replace function experiment._read_measured(definition jsonb)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result jsonb := '{}';
  v_role text;
  v_entry jsonb;
  v_list jsonb;
  v_metric experiment.metric;
  v_seen text[] := '{}';
begin
  foreach v_role in array '{goals,secondary,guardrails}'::text[] loop
    continue when not _read_measured.definition ? v_role;
    v_list := '[]';
    for v_entry in
      select entry.value from jsonb_array_elements(_read_measured.definition -> v_role) as entry
    loop
      if jsonb_typeof(v_entry) = 'string' then
        v_entry := jsonb_build_object('metric', v_entry);
      elsif jsonb_typeof(v_entry) <> 'object'
        or jsonb_typeof(v_entry -> 'metric') is distinct from 'string'
        or v_entry - '{metric,margin}'::text[] <> '{}'
      then
        perform experiment._refuse_field('an element of ' || v_role, v_entry,
          'Give the name of a metric, or {"metric": "…", "margin": 0.02} for a guardrail.');
      end if;
      v_metric := experiment._find_metric(v_entry ->> 'metric');
      if v_metric.metric_key = any (v_seen) then
        perform common.refuse('CF001', format('the metric "%s" is given twice', v_metric.metric_key),
          'An experiment measures a metric once.');
      end if;
      v_seen := v_seen || v_metric.metric_key;
      if v_entry ? 'margin' then
        if v_role <> 'guardrails' then
          perform experiment._refuse_field('margin', v_entry -> 'margin', 'Only guardrails have a margin.');
        elsif jsonb_typeof(v_entry -> 'margin') <> 'number'
          or not (v_entry ->> 'margin')::numeric between 0 and 1
        then
          perform experiment._refuse_field('margin', v_entry -> 'margin',
            'Give the relative worsening that is accepted, from 0 to 1.');
        end if;
        v_entry := v_entry || jsonb_build_object('margin', experiment._double_of((v_entry ->> 'margin')::numeric));
        v_list := v_list || jsonb_build_array(v_entry);
      else
        v_list := v_list || jsonb_build_array(v_entry -> 'metric');
      end if;
    end loop;
    v_result := v_result || jsonb_build_object(v_role, v_list);
  end loop;
  return v_result;
end;
$$;

comment on function experiment._read_measured(jsonb) is $$
@behavior -*
Returns the goals, secondary metrics and guardrails of a definition, checked. Errors: CF001, CF002.
$$;
