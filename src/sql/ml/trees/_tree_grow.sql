/*
 * One tree, level by level. What a split can be judged by is a histogram: for every bin of every feature in every
 * open node the sums of the outputs, of the weight and of the rows. One scan with one grouping set a feature gives
 * all of a level (the idea of JoinBoost: a tree needs nothing but `sum … group by`); only the smaller child of each
 * split is scanned, the other is its parent less that. The tree so far is part of the statement, as nested CASE.
 */
create or replace function ml._tree_grow(
  features int[],
  outputs int,
  criterion text,
  lambda float8,
  min_gain float8,
  max_depth int,
  min_rows int,
  min_split int,
  min_weight float8,
  features_per_node int,
  seed bigint
)
returns text
language plpgsql
set search_path to pg_catalog, pg_temp
set jit to off
set client_min_messages to warning
-- A limit for the planner, so that it hashes all grouping sets in one scan: what is used is a few kB a node and
-- feature.
set work_mem to '256MB'
as $$
declare
  v_columns text := (select string_agg('f' || feature, ', ') from unnest(features) as feature);
  v_sets text := (select string_agg(format('(node, f%s)', feature), ', ') from unnest(features) as feature);
  v_sums text := (select string_agg(format('sum(s%1$s) as s%1$s', k), ', ' order by k)
    from generate_series(1, outputs) as k);
  v_outputs text := (select string_agg('s' || k, ', ' order by k) from generate_series(1, outputs) as k);
  v_difference text := (select string_agg(format('parent.s%1$s - coalesce(child.s%1$s, 0)', k), ', ' order by k)
    from generate_series(1, outputs) as k);
  v_running text := (select string_agg(format('sum(s%1$s) over running as s%1$s', k), ', ' order by k)
    from generate_series(1, outputs) as k);
  v_score text := case criterion
    when 'entropy' then '('
      || (select string_agg(format('coalesce({0}%1$s * ln(nullif(greatest({0}%1$s, 0), 0) / {0}h), 0)', k), ' + '
          order by k) from generate_series(1, outputs) as k) || ')'
    when 'misclassification' then 'greatest(' || (select string_agg(format('{0}%s', k), ', ' order by k)
      from generate_series(1, outputs) as k) || ')'
    else '(' || (select string_agg(format('{0}%1$s * {0}%1$s', k), ' + ' order by k)
      from generate_series(1, outputs) as k) || format(') / nullif({0}h + %s, 0)', lambda)
  end;
  v_case text := '0';
  v_level int := 0;
  v_open bigint;
  v_next int := 1;
begin
  -- The working tables are made once a training and emptied for each tree.
  execute format(
    'create temp table if not exists _ml_tree_node (node int, parent int, depth int, feature int, cut int, codes int[],
        missing_left boolean,
       left_node int, right_node int, gain float8, %1$s, h float8, n bigint, open boolean,
         scanned boolean) on commit drop;
     create temp table if not exists _ml_tree_histogram (node int, code int, %1$s, h float8, n float8) on commit drop;
     create temp table if not exists _ml_tree_split (node int, feature int, cut int, codes int[], missing_left boolean,
       gain float8, left_node int, depth int,
       %2$s, lh float8, ln float8, rh float8, rn float8) on commit drop',
    (select string_agg(format('s%s float8', k), ', ' order by k) from generate_series(1, outputs) as k),
    (select string_agg(format('l%1$s float8, r%1$s float8', k), ', ' order by k) from generate_series(1, outputs) as k)
  );
  truncate pg_temp._ml_tree_node, pg_temp._ml_tree_histogram;
  execute format(
    'insert into pg_temp._ml_tree_node (node, depth, %s, h, n, open, scanned)
     select 0, 0, %s, coalesce(sum(h), 0), count(*), true, true from pg_temp._ml_tree_work where used',
    v_outputs, v_sums
  );
  while v_level < max_depth loop
    execute format('update pg_temp._ml_tree_node set open = false where open and n < %s',
      greatest(min_split, 2 * min_rows));
    execute 'select count(*) from pg_temp._ml_tree_node where open' into v_open;
    exit when v_open = 0;

    execute format(
      'insert into pg_temp._ml_tree_histogram
       select node, coalesce(%1$s), %2$s, sum(h), count(*)::float8
       from (select %3$s as node, %4$s, h, %1$s from pg_temp._ml_tree_work where used offset 0) as placed
       where node is not null
       group by grouping sets (%5$s)',
      v_columns, v_sums, v_case, v_outputs, v_sets
    );
    if v_level > 0 then
      execute format(
        'insert into pg_temp._ml_tree_histogram
         select larger.node, parent.code, %s, parent.h - coalesce(child.h, 0), parent.n - coalesce(child.n, 0)
         from pg_temp._ml_tree_node as larger
         join pg_temp._ml_tree_node as smaller on smaller.parent = larger.parent and smaller.node <> larger.node
         join pg_temp._ml_tree_histogram as parent on parent.node = larger.parent
         left join pg_temp._ml_tree_histogram as child on child.node = smaller.node and child.code = parent.code
         where larger.open and not larger.scanned and larger.depth = %s
           and parent.n > coalesce(child.n, 0)',
        v_difference, v_level
      );
      execute format('delete from pg_temp._ml_tree_histogram
          where node in (select node from pg_temp._ml_tree_node where depth < %s)', v_level);
    end if;

    truncate pg_temp._ml_tree_split;
    execute format(
      $query$
      insert into pg_temp._ml_tree_split
      with bin as materialized (
        select
          histogram.*, feature.feature, feature.category,
          case when histogram.code = feature.feature * 1024 then '-Infinity'
            when feature.category then histogram.s1 / (histogram.h + %1$s) else histogram.code end as place
        from pg_temp._ml_tree_histogram as histogram
        join pg_temp._ml_tree_node as node on node.node = histogram.node and node.open
        join pg_temp._ml_tree_feature as feature on feature.feature = histogram.code / 1024
        %2$s
      ), running as (
        -- Missing values come first: each prefix of the bins is a left side with them, and less the first one a left
        -- side without.
        select
          node, feature, code, category, place,
          lead(code) over running as next_code,
          first_value(code) over running = feature * 1024 as has_missing,
          %3$s, sum(h) over running as h, sum(n) over running as n,
          %4$s, first_value(h) over running as first_h, first_value(n) over running as first_n
        from bin
        window running as (partition by node, feature order by place, code rows unbounded preceding)
      ), side as (
        select
          running.node, running.feature, running.code, running.category, running.place, running.next_code,
          running.has_missing,
          node.depth, %5$s as before, way.missing_left, way.lh, way.ln, %6$s, %7$s, node.h - way.lh as rh,
            node.n - way.ln as rn
        from running
        join pg_temp._ml_tree_node as node on node.node = running.node
        cross join lateral (
          select true as missing_left, running.h as lh, running.n as ln, %8$s
          where running.next_code is not null
            and running.code > running.feature * 1024
          union all
          select false, running.h - running.first_h, running.n - running.first_n, %9$s
          where running.has_missing
        ) as way
        where way.ln >= %12$s and node.n - way.ln >= %12$s
          and way.lh >= %13$s and node.h - way.lh >= %13$s
      ), judged as (
        select *, %10$s + %11$s - before as gain
        from side
      ), best as (
        select distinct on (node) *
        from judged
        where gain > %14$s + 1e-9 * (abs(gain + before) + abs(before))
        order by node, gain desc, feature, code, missing_left
      ), subset as (
        select best.node, array_agg(bin.code order by bin.code) as codes
        from best
        join bin on bin.node = best.node and bin.feature = best.feature
        where best.category
          and bin.code > bin.feature * 1024
          and (bin.place, bin.code) <= (best.place, best.code)
        group by best.node
      )
      select
        best.node, best.feature,
        -- Codes from here on go right; beyond all codes when only missing values do.
        case when not category then coalesce(next_code, feature * 1024 + 1023) end,
        subset.codes,
        -- Where nothing was missing, what is missing later goes where most rows went.
        case when has_missing then missing_left else ln >= rn end,
        gain, %15$s + 2 * (row_number() over (order by best.node) - 1), depth, %16$s, lh, ln, rh, rn
      from best
      left join subset on subset.node = best.node
      $query$,
      greatest(lambda, 1e-12),
      case when features_per_node is not null then format(
        'join (
           select node.node, feature.feature,
             row_number() over (partition by node.node
               order by hashint8extended(feature.feature, hashint8extended(node.node, %s))) as draw
           from pg_temp._ml_tree_node as node
           cross join pg_temp._ml_tree_feature as feature
           where node.open
             and (cardinality(feature.edges) > 0 or cardinality(feature.categories) > 0)
         ) as drawn on drawn.node = histogram.node and drawn.feature = histogram.code / 1024 and drawn.draw <= %s',
        seed, features_per_node
      ) else '' end,
      v_running,
      (select string_agg(format('first_value(s%1$s) over running as first_%1$s', k), ', ' order by k)
        from generate_series(1, outputs) as k),
      replace(replace(v_score, '{0}h', 'node.h'), '{0}', 'node.s'),
      (select string_agg(format('way.l%1$s', k), ', ' order by k) from generate_series(1, outputs) as k),
      (select string_agg(format('node.s%1$s - way.l%1$s as r%1$s', k), ', ' order by k)
        from generate_series(1, outputs) as k),
      (select string_agg(format('running.s%1$s as l%1$s', k), ', ' order by k) from generate_series(1, outputs) as k),
      (select string_agg(format('running.s%1$s - running.first_%1$s', k), ', ' order by k)
        from generate_series(1, outputs) as k),
      replace(v_score, '{0}', 'l'), replace(v_score, '{0}', 'r'),
      min_rows, min_weight, min_gain, v_next,
      (select string_agg(format('l%1$s, r%1$s', k), ', ' order by k) from generate_series(1, outputs) as k)
    );
    execute 'select count(*) from pg_temp._ml_tree_split' into v_open;
    exit when v_open = 0;
    v_next := v_next + 2 * v_open;
    v_level := v_level + 1;
    execute
      'update pg_temp._ml_tree_node as node
       set feature = split.feature, cut = split.cut, codes = split.codes, missing_left = split.missing_left,
         gain = split.gain,
         left_node = split.left_node, right_node = split.left_node + 1
       from pg_temp._ml_tree_split as split
       where split.node = node.node';
    execute format(
      'update pg_temp._ml_tree_node set open = false where open;
       insert into pg_temp._ml_tree_node (node, parent, depth, %s, h, n, open, scanned)
       select left_node, node, depth + 1, %s, lh, ln, true, ln <= rn from pg_temp._ml_tree_split
       union all
       select left_node + 1, node, depth + 1, %s, rh, rn, true, ln > rn from pg_temp._ml_tree_split',
      v_outputs,
      (select string_agg('l' || k, ', ' order by k) from generate_series(1, outputs) as k),
      (select string_agg('r' || k, ', ' order by k) from generate_series(1, outputs) as k)
    );
    v_case := ml._tree_case('case when open and scanned then node::text else ''null::int'' end');
  end loop;
  return ml._tree_case('node::text');
end;
$$;

comment on function ml._tree_grow(int[], int, text, float8, float8, int, int, int, float8, int, bigint) is $$
Grows one tree on `_ml_tree_work` into the temporary table `_ml_tree_node`.
`_ml_tree_work` has used, s1…, h and one code per feature. Returns the CASE that finds a row's leaf.
`criterion` squares (with s = gradients and h = second derivatives: the gain of gradient boosting; with s = y, h =
weight: least squares; with s = indicators of classes: Gini), `entropy` or `misclassification`. Missing values try
both sides; categories are ordered by their mean.
Source: Chen and Guestrin, XGBoost, KDD 2016; Huang and others, JoinBoost, SIGMOD 2023; Fisher, On grouping for
maximum homogeneity, 1958.
$$;

grant execute on function ml._tree_grow(int[], int, text, float8, float8, int, int, int, float8, int, bigint)
  to insights_analyst, insights_admin, insights_worker;
