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
  execute format('select array_fill(null::text, array[max(node) + 1]) from %s where tree = $1', nodes)
    into v_texts using tree;
  for v_node
    in execute format('select node, feature, threshold, categories, missing_left, left_node,
        right_node, (%s)::text as leaf from %s where tree = $1 order by node desc', leaf, nodes) using tree loop
    v_column := 'x' || (positions ->> v_node.feature);
    -- A condition on NULL is not true, so what is asked is whatever sends missing values to the ELSE.
    v_text := case
      when v_node.feature is null then coalesce(v_node.leaf, 'null')
      -- Without a list of categories any other counts as known.
      when v_node.categories is not null and v_node.missing_left and jsonb_typeof(categories -> v_node.feature)
        is distinct from 'array' then format(
        'case when %s <> all (%L::text[]) then %s else %s end', v_column, v_node.categories,
          v_texts[v_node.right_node + 1], v_texts[v_node.left_node + 1]
      )
      when v_node.categories is not null and v_node.missing_left then format(
        'case when %s = any (%L::text[]) then %s else %s end', v_column,
        array(select jsonb_array_elements_text(categories -> v_node.feature) except select unnest(v_node.categories)
          order by 1),
        v_texts[v_node.right_node + 1], v_texts[v_node.left_node + 1]
      )
      when v_node.categories is not null then format(
        'case when %s = any (%L::text[]) then %s else %s end', v_column, v_node.categories,
          v_texts[v_node.left_node + 1], v_texts[v_node.right_node + 1]
      )
      when v_node.threshold = 'Infinity' then format(
        'case when %s is not null then %s else %s end', v_column, v_texts[v_node.left_node + 1],
          v_texts[v_node.right_node + 1]
      )
      when v_node.missing_left then format(
        'case when %s >= %L::float8 then %s else %s end', v_column, v_node.threshold, v_texts[v_node.right_node + 1],
          v_texts[v_node.left_node + 1]
      )
      else format(
        'case when %s < %L::float8 then %s else %s end', v_column, v_node.threshold, v_texts[v_node.left_node + 1],
          v_texts[v_node.right_node + 1]
      )
    end;
    v_texts[v_node.node + 1] := v_text;
  end loop;
  return v_texts[1];
end;
$$;

comment on function ml._tree_expression(text, int, jsonb, jsonb, text) is $$
Returns one tree of a model as nested CASE over the columns x1, x2, ….
`nodes` is the model's table, or a query in its place; `leaf` is SQL over the node that gives the text of a leaf.
$$;

grant execute on function ml._tree_expression(text, int, jsonb, jsonb, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
