create or replace function ml._tree_values(model_id bigint, inputs jsonb)
returns table (tree int, value float8, class_values float8[])
language sql
stable
parallel safe
begin atomic
  with recursive walk as (
    select node.*
    from ml.tree_node as node
    where node.model_id = _tree_values.model_id
      and node.node = 0

    union all

    select node.*
    from walk
    cross join lateral (
      select
        case
          when inputs -> walk.feature is null or inputs -> walk.feature = 'null' then walk.missing_left
          when walk.categories is not null then inputs ->> walk.feature = any (walk.categories)
          else walk.threshold = 'Infinity' or (inputs ->> walk.feature)::float8 < walk.threshold
        end as goes_left
    ) as decided
    join ml.tree_node as node
      on node.model_id = _tree_values.model_id
      and node.tree = walk.tree
      and node.node = case when decided.goes_left then walk.left_node else walk.right_node end
    where walk.feature is not null
  )

  select walk.tree, walk.value, walk.class_values
  from walk
  where walk.feature is null;
end;

comment on function ml._tree_values(bigint, jsonb) is $$
The value, or the values by class, of the leaf that one row reaches, for each tree of a model.
All trees are walked at once, by key. Batches use ml._score_expression.
$$;

grant execute on function ml._tree_values(bigint, jsonb)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
