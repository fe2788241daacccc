/*
 * Prediction is one statement: each tree becomes a nested CASE over the features, evaluated while the new rows are
 * scanned once, in parallel where the server likes.
 */
create or replace function ml._tree_expression(
  nodes text,
  tree int,
  positions jsonb,
  categories jsonb,
  leaf text
)
returns text
language plpgsql
stable
as $$
declare
  v_node record;
  v_texts text[];
  v_text text;
  v_column text;
begin
  execute format('select array_fill(null::text, array[max(node) + 1]) from %s where tree = $1', nodes) into v_texts using tree;
  for v_node in execute format('select node, feature, threshold, categories, missing_left, left_node, right_node, (%s)::text as leaf from %s where tree = $1 order by node desc', leaf, nodes) using tree loop
    v_column := 'x' || (positions ->> v_node.feature);
    -- A condition on NULL is not true, so what is asked is whatever sends missing values to the ELSE.
    v_text := case
      when v_node.feature is null then coalesce(v_node.leaf, 'null')
      when v_node.categories is not null and v_node.missing_left then format(
        'case when %s = any (%L::text[]) then %s else %s end', v_column,
        array(select jsonb_array_elements_text(categories -> v_node.feature) except select unnest(v_node.categories) order by 1),
        v_texts[v_node.right_node + 1], v_texts[v_node.left_node + 1]
      )
      when v_node.categories is not null then format(
        'case when %s = any (%L::text[]) then %s else %s end', v_column, v_node.categories, v_texts[v_node.left_node + 1], v_texts[v_node.right_node + 1]
      )
      when v_node.threshold = 'Infinity' then format(
        'case when %s is not null then %s else %s end', v_column, v_texts[v_node.left_node + 1], v_texts[v_node.right_node + 1]
      )
      when v_node.missing_left then format(
        'case when %s >= %L::float8 then %s else %s end', v_column, v_node.threshold, v_texts[v_node.right_node + 1], v_texts[v_node.left_node + 1]
      )
      else format(
        'case when %s < %L::float8 then %s else %s end', v_column, v_node.threshold, v_texts[v_node.left_node + 1], v_texts[v_node.right_node + 1]
      )
    end;
    v_texts[v_node.node + 1] := v_text;
  end loop;
  return v_texts[1];
end;
$$;

comment on function ml._tree_expression(text, int, jsonb, jsonb, text) is $$
One tree of a model as nested CASE over the columns x1, x2, …; `nodes` is the model's table, or a query in its place; `leaf` is SQL over the node that gives the text of a leaf.
$$;

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
      else format('nullif(%s, ''NaN'') as x%s', common.numeric_expression(features[v_position], relation, 'feature'), v_position)
    end;
  end loop;
  return array_to_string(v_inputs, ', ');
end;
$$;

comment on function ml._tree_inputs(text[], text[], regclass) is $$
The select list that gives a model's features as x1, x2, … from a relation. Errors: CF001, CF002 (a feature is missing; names the nearest).
$$;

create or replace function ml._model_summary(
  model_table text,
  methods text[]
)
returns jsonb
language plpgsql
stable
as $$
declare
  v_model regclass := common.relation(model_table);
  v_summary text;
  v_row jsonb;
begin
  select format('%I.%I', namespace.nspname, class.relname || '_summary')
  into v_summary
  from pg_catalog.pg_class as class
  join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where class.oid = v_model;
  if to_regclass(v_summary) is not null then
    execute format('select to_jsonb(summary) from %s as summary limit 1', v_summary) into v_row;
  end if;
  if v_row is null or not coalesce(v_row ->> 'method' = any (methods), false) then
    perform common.refuse(
      'CF002',
      format('"%s" is not a model of %s', left(model_table, 100), array_to_string(methods, ' or ')),
      format('A model is the output table of a training, beside its table "%s".', left(v_summary, 100))
    );
  end if;
  return v_row;
end;
$$;

comment on function ml._model_summary(text, text[]) is $$
The row of a model's `_summary` table as JSON, when it was made by one of the methods. Error CF002.
$$;

grant execute on function ml._tree_expression(text, int, jsonb, jsonb, text) to insights_reader, insights_analyst, insights_admin, insights_worker;
grant execute on function ml._tree_inputs(text[], text[], regclass), ml._model_summary(text, text[])
  to insights_analyst, insights_admin, insights_worker;
