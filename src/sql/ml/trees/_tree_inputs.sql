create or replace function ml._tree_inputs(
  features text[],
  types text[],
  relation regclass
)
returns text
language plpgsql
stable
as $$
declare
  v_inputs text[] := '{}';
begin
  for v_position in 1..cardinality(features) loop
    perform common.expression_type(features[v_position], relation, 'feature');
    v_inputs := v_inputs || case
      when types[v_position] = 'category' then format('(%s)::text as x%s', features[v_position], v_position)
      else format('nullif(%s, ''NaN'') as x%s', common.numeric_expression(features[v_position], relation, 'feature'),
        v_position)
    end;
  end loop;
  return array_to_string(v_inputs, ', ');
end;
$$;

comment on function ml._tree_inputs(text[], text[], regclass) is $$
The select list that gives a model's features as x1, x2, … from a relation.
Errors: CF001, CF002 (a feature is missing; names the nearest).
$$;

grant execute on function ml._tree_inputs(text[], text[], regclass)
  to insights_analyst, insights_admin, insights_worker;
