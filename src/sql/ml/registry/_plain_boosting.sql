/*
 * With logistic loss the cover of a node is the sum of p * (1 - p) over its rows, before the tree. So the cover of the
 * second root follows from the leaves of the first tree, and no later root has the cover of the first, unless trees
 * were dropped (dart) or rows sampled.
 */
create or replace function ml._plain_boosting(nodes jsonb, base float8)
returns boolean
language sql
stable
parallel safe
begin atomic
  with node as (
    select *
    from jsonb_to_recordset(nodes) as node (tree int, node int, value float8, cover float8)
    where node.node = 0 or node.tree = 1
  ), leaf as (
    select cover, least(greatest(value, -300), 300) as value
    from node
    where tree = 1 and value is not null
  ), first_tree as (
    select sum(cover) as cover,
      sum(cover * exp(value) * ((1 + exp(base)) / (1 + exp(base + value))) ^ 2) as cover_after
    from leaf
  )
  select coalesce(
    bool_and(case
      when node.tree = 2 then abs(node.cover - first_tree.cover_after) <= 1e-3 * first_tree.cover_after
      else abs(node.cover - first_tree.cover) > 1e-6 * first_tree.cover
        or abs(first_tree.cover_after - first_tree.cover) <= 1e-3 * first_tree.cover
    end),
    true
  )
  from node
  cross join first_tree
  where node.tree > 1 and node.node = 0 and node.cover > 0 and first_tree.cover_after > 0;
end;

comment on function ml._plain_boosting(jsonb, float8) is $$
Whether each of several logistic trees was grown on what those before it left, judged by their covers.
True when they have none.
$$;

grant execute on function ml._plain_boosting(jsonb, float8) to insights_admin, insights_worker;
