create or replace function ml._tree_sum(nodes text, model ml.tree_model, leaf text)
returns text
language plpgsql
stable
as $$
declare
  v_positions constant jsonb := (
    select jsonb_object_agg(name, position)
    from unnest(model.independent_varnames) with ordinality as feature (name, position)
  );
  v_trees text[] := '{}';
  v_size int;
begin
  for v_tree in 1..model.num_trees loop
    v_trees := v_trees || ml._tree_expression(nodes, v_tree, v_positions, model.categories, leaf);
  end loop;
  -- A sum of sums, so that thousands of trees do not nest too deep for the parser.
  v_size := greatest(1, ceil(sqrt(cardinality(v_trees)))::int);
  return (
    select string_agg('(' || part || ')', ' + ' order by place)
    from (
      select (position - 1) / v_size as place, string_agg(tree, ' + ' order by position) as part
      from unnest(v_trees) with ordinality as grown (tree, position)
      group by (position - 1) / v_size
    ) as chunk
  );
end;
$$;

comment on function ml._tree_sum(text, ml.tree_model, text) is $$
The sum of the trees of a model as SQL over the columns x1, x2, …; null without trees.
`nodes` is the model's table, or a query in its place; `leaf` is SQL over a node that gives the text of a leaf.
$$;

grant execute on function ml._tree_sum(text, ml.tree_model, text)
  to insights_analyst, insights_admin, insights_worker;
