create or replace function ml._tree_write(output text, origin text, tree int, measures text)
returns void
language plpgsql
as $$
begin
  execute format(
    $query$
    insert into %1$s
    select
      origin.*, %2$s, node.node, node.parent, node.depth, feature.name,
      case when not feature.category then coalesce(feature.edges[(node.cut & 1023) - 1], 'Infinity') end,
      (select array_agg(feature.categories[code & 1023] order by code) from unnest(node.codes) as code),
      case when node.feature is not null then node.missing_left end,
      node.left_node, node.right_node, %3$s, node.gain, node.h, node.n
    from (%4$s) as origin
    cross join pg_temp._ml_tree_node as node
    left join pg_temp._ml_tree_feature as feature on feature.feature = node.feature
    $query$,
    output, tree, measures, coalesce(origin, 'select')
  );
end;
$$;

comment on function ml._tree_write(text, text, int, text) is $$
Adds the tree in `_ml_tree_node` to the table of a model.
`origin` is a query that gives the first columns, or null; `measures` are the columns of `node` that a leaf answers
with.
$$;

grant execute on function
  ml._tree_write(text, text, int, text)
to insights_analyst, insights_admin, insights_worker;
