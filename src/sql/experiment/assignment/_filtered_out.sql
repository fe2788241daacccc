create or replace function experiment._filtered_out(filters jsonb, attributes jsonb)
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_filter jsonb;
  v_value jsonb;
  v_n double precision;
  v_range jsonb;
  v_passes boolean;
begin
  if jsonb_typeof(_filtered_out.filters) <> 'array' then
    perform experiment._refuse_condition(_filtered_out.filters, 'filters', 'an array of filters');
  end if;
  for v_filter in select element.value from jsonb_array_elements(_filtered_out.filters) as element (value) loop
    v_value := (experiment._hash_attribute(_filtered_out.attributes, v_filter -> 'attribute', null)).value;
    if not experiment._truthy(v_value) then
      return true;
    end if;
    v_n := experiment.hash(
      coalesce(experiment._js_text(v_filter -> 'seed'), 'undefined'),
      experiment._js_text(v_value),
      experiment._hash_version(v_filter -> 'hashVersion', 2)
    );
    if v_n is null then
      return true;
    end if;
    if jsonb_typeof(v_filter -> 'ranges') is distinct from 'array' then
      perform experiment._refuse_condition(v_filter -> 'ranges', 'ranges of a filter', 'an array of ranges');
    end if;
    v_passes := false;
    for v_range in select element.value from jsonb_array_elements(v_filter -> 'ranges') as element (value) loop
      v_passes := experiment._in_json_range(v_n, v_range);
      exit when v_passes;
    end loop;
    if not v_passes then
      return true;
    end if;
  end loop;
  return false;
end;
$$;

comment on function experiment._filtered_out(jsonb, jsonb) is $$
Returns whether one of the filters of a rule excludes a person: namespaces, with a hash of version 2 and several ranges.
$$;

grant execute on function experiment._filtered_out(jsonb, jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
