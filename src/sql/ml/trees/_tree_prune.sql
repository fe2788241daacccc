create or replace function ml._tree_prune(least_gain float8)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_node record;
  -- The gain of each branch beyond the price of its splits, when its own branches that gain less than nothing are cut.
  v_worth float8[] := (select array_fill(0::float8, array[max(node) + 1]) from pg_temp._ml_tree_node);
begin
  for v_node in
    select node, left_node, right_node, gain
    from pg_temp._ml_tree_node
    where feature is not null
    order by node desc
  loop
    v_worth[v_node.node + 1] := v_node.gain - least_gain
      + greatest(v_worth[v_node.left_node + 1], 0) + greatest(v_worth[v_node.right_node + 1], 0);
  end loop;
  with recursive kept as (
    select node.node, v_worth[node.node + 1] < 0 as pruned
    from pg_temp._ml_tree_node as node
    where node.node = 0
    union all
    select child.node, v_worth[child.node + 1] < 0
    from kept
    join pg_temp._ml_tree_node as child on child.parent = kept.node
    where not kept.pruned
  ), dropped as (
    delete from pg_temp._ml_tree_node as node
    where node.node not in (select kept.node from kept)
  )
  update pg_temp._ml_tree_node as node
  set feature = null, cut = null, codes = null, missing_left = null, left_node = null, right_node = null, gain = null
  from kept
  where kept.node = node.node
    and kept.pruned;
end;
$$;

comment on function ml._tree_prune(float8) is $$
Prunes the tree in `_ml_tree_node` by minimal cost complexity: branches with less gain per split than `least_gain` go.
The branches that remain have the largest gain less `least_gain` for each split, which is what removing the weakest
branch first leads to.
Source: Breiman and others, Classification and Regression Trees, 1984, chapter 3 and section 10.2.
$$;

grant execute on function ml._tree_prune(float8) to insights_analyst, insights_admin, insights_worker;
