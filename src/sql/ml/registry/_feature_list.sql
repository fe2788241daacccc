create or replace function ml._feature_list(document jsonb, relation regclass)
returns text
language plpgsql
stable
as $$
declare
  v_feature record;
  v_name text;
  v_list text[] := '{}';
begin
  for v_feature in
    select feature ->> 'name' as name, feature ->> 'type' as type, position
    from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position)
    order by position
  loop
    v_name := common.column_name(relation, v_feature.name, 'feature');
    v_list := v_list || case
      when v_feature.type = 'category' then format('(%s)::text as x%s', v_name, v_feature.position)
      when (document -> 'single_precision')::boolean then format('nullif(ml._single_precision(%s), ''NaN'') as x%s',
        common.numeric_expression(v_name, relation, 'feature'), v_feature.position)
      else format('nullif(%s, ''NaN'') as x%s', common.numeric_expression(v_name, relation, 'feature'),
        v_feature.position)
    end;
  end loop;
  return array_to_string(v_list, ', ');
end;
$$;

comment on function ml._feature_list(jsonb, regclass) is $$
The select list that gives a model's features as x1, x2, … from a relation that has columns of their names.
Errors: CF001 (not a number), CF002 (no such column; names the nearest).
$$;

grant execute on function ml._feature_list(jsonb, regclass) to insights_analyst, insights_admin, insights_worker;
