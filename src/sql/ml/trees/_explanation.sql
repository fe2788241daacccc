/*
 * Shapley's value of a feature in one leaf is the leaf's value times an average, over the orders in which features
 * become known, of a product of one factor a feature: the row's own answer to the splits of a known feature (0 or 1),
 * the share of training rows for an unknown one. The average over orders is the integral over t in 0..1 with each
 * other feature known with chance t. The integrand is a polynomial, so a few points of Gauss–Legendre quadrature give
 * it exactly, and every leaf, feature and point is a row of one statement.
 */
create or replace function ml._explanation(
  nodes text,
  intercept float8,
  names text[],
  types text[],
  categories jsonb,
  relation text,
  id_expression text,
  inputs text,
  kept text
)
returns text
language sql
stable
parallel safe
begin atomic
  select format(
    $query$
    with recursive nodes as (
      select * from %1$s
    ), edge as (
      select child.tree, child.node as leaf, child.value, child.parent as node, child.node as child,
        child.cover as child_cover
      from nodes as child
      where child.feature is null
      union all
      select edge.tree, edge.leaf, edge.value, node.parent, node.node, node.cover
      from edge
      join nodes as node on node.tree = edge.tree and node.node = edge.node
      where node.parent is not null
    ), path as materialized (
      select
        edge.tree, edge.leaf, edge.value, node.feature, node.threshold, node.categories, node.missing_left,
        edge.child = node.left_node as goes_left,
        greatest(edge.child_cover / nullif(node.cover, 0), 1e-30) as share
      from edge
      join nodes as node on node.tree = edge.tree and node.node = edge.node
    ), quadrature as materialized (
      select *
      from ml._gauss_legendre((
        select (coalesce(max(used), 1) + 1) / 2
        from (select count(distinct feature)::int as used from path group by tree, leaf) as counted
      ))
    ), input as materialized (
      select row_number() over () as line, input.*
      from (select %2$s as id%3$s from %4$s where %5$s) as input
    ), given as materialized (
      select input.line, feature.*
      from input
      cross join lateral (%6$s) as feature (name, number, category, shown)
    ), factor as materialized (
      select
        given.line, path.tree, path.leaf, path.feature, path.value,
        exp(sum(ln(path.share))) as unknown,
        bool_and(path.goes_left = case
          when given.number is null and given.category is null then path.missing_left
          when path.categories is not null then given.category = any (path.categories)
          else given.number < path.threshold or path.threshold = 'Infinity'
        end)::int as known
      from path
      join given on given.name = path.feature
      group by given.line, path.tree, path.leaf, path.feature, path.value
    ), product as (
      select line, tree, leaf, point, weight, sum(ln(known * point + unknown * (1 - point))) as logarithm
      from factor
      cross join quadrature
      group by line, tree, leaf, point, weight
    ), moved as (
      select
        factor.line, factor.feature,
        sum(factor.value * (factor.known - factor.unknown) * product.weight
          * exp(product.logarithm - ln(factor.known * product.point + factor.unknown * (1 - product.point))))
          as contribution
      from factor
      join product using (line, tree, leaf)
      group by factor.line, factor.feature
    ), expected as (
      select %7$L::float8 + coalesce(sum(
        case when leaf.node = 0 then leaf.value else leaf.value * leaf.cover / root.cover end
      ), 0) as contribution
      from nodes as leaf
      join nodes as root on root.tree = leaf.tree and root.node = 0
      where leaf.feature is null
    )
    select input.id, explained.feature, explained.feature_value, explained.contribution
    from input
    cross join lateral (
      select '(base)' as feature, null::text as feature_value, expected.contribution
      from expected
      union all
      select given.name, given.shown, coalesce(moved.contribution, 0)
      from given
      left join moved on moved.line = given.line and moved.feature = given.name
      where given.line = input.line
    ) as explained
    order by input.line, abs(explained.contribution) desc
    $query$,
    nodes, id_expression, coalesce(', ' || nullif(inputs, ''), ''), relation, kept,
    coalesce((
      select 'values ' || string_agg(
        case when types[position] = 'category' and jsonb_typeof(categories -> name) is distinct from 'array'
          then format('(%1$L, null::float8, x%2$s, x%2$s)', name, position)
        when types[position] = 'category' then format(
          '(%1$L, null::float8, case when x%2$s = any (%3$L::text[]) then x%2$s end, x%2$s)',
          name, position, array(select jsonb_array_elements_text(categories -> name))
        )
        else format('(%1$L, x%2$s, null::text, x%2$s::text)', name, position) end,
        ', ' order by position
      )
      from unnest(names) with ordinality as feature (name, position)
    ), 'select null::text, null::float8, null::text, null::text where false'),
    intercept
  );
end;

comment on function ml._explanation(text, float8, text[], text[], jsonb, text, text, text, text) is $$
The statement that explains the raw scores of boosted trees:
id, feature, feature_value and contribution, for the rows of a relation that are `kept`.
`nodes` is the model's table, or a query in its place; `inputs` gives the features as x1, x2, … (see ml._tree_inputs).
$$;

grant execute on function ml._explanation(text, float8, text[], text[], jsonb, text, text, text, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
