/*
 * One tree, level by level. What a split can be judged by is a histogram: for every bin of every feature in every
 * open node the sums of the outputs, of the weight and of the rows. One scan with one grouping set a feature gives
 * all of a level (the idea of JoinBoost: a tree needs nothing but `sum … group by`); only the smaller child of each
 * split is scanned, the other is its parent less that. The tree so far is part of the statement, as nested CASE.
 */
create or replace function ml._tree_histogram(features int[], sums text[], weight text, level int)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_outputs constant int := cardinality(sums);
  v_codes constant text := (select string_agg('f' || feature, ', ') from unnest(features) as feature);
begin
  execute format(
    $query$
    insert into pg_temp._ml_tree_histogram
    select node, coalesce(%1$s), %2$s, sum(%3$s), count(*)::float8
    from (select %4$s as node, %5$s, %3$s, %1$s from pg_temp._ml_tree_work where used offset 0) as placed
    where node is not null
    group by grouping sets (%6$s)
    $query$,
    v_codes,
    (select string_agg(format('sum(%s)', output), ', ' order by k)
      from unnest(sums) with ordinality as listed (output, k)),
    weight,
    ml._tree_case('scanned'),
    array_to_string(sums, ', '),
    (select string_agg(format('(node, f%s)', feature), ', ') from unnest(features) as feature)
  );
  if level = 0 then
    return;
  end if;
  -- The larger child is its parent less the smaller one.
  execute format(
    $query$
    insert into pg_temp._ml_tree_histogram
    select larger.node, parent.code, %s, parent.h - coalesce(child.h, 0), parent.n - coalesce(child.n, 0)
    from pg_temp._ml_tree_node as larger
    join pg_temp._ml_tree_node as smaller on smaller.parent = larger.parent and smaller.node <> larger.node
    join pg_temp._ml_tree_histogram as parent on parent.node = larger.parent
    left join pg_temp._ml_tree_histogram as child on child.node = smaller.node and child.code = parent.code
    where larger.open and not larger.scanned and larger.depth = %s
      and parent.n > coalesce(child.n, 0)
    $query$,
    ml._each(v_outputs, 'parent.s# - coalesce(child.s#, 0)'), level
  );
  delete from pg_temp._ml_tree_histogram as histogram
  using pg_temp._ml_tree_node as node
  where node.node = histogram.node
    and node.depth < level;
end;
$$;

comment on function ml._tree_histogram(int[], text[], text, int) is $$
Writes the sums of each bin of each feature in the open nodes of a level into `_ml_tree_histogram`.
`sums` and `weight` are columns of `_ml_tree_work`.
$$;

create or replace function ml._split_score(growth ml.tree_growth, outputs int, side text)
returns text
language sql
stable
parallel safe
begin atomic
  select replace(
    case growth.criterion
      when 'entropy' then format('(%s)',
        ml._each(outputs, 'coalesce(@# * ln(nullif(greatest(@#, 0), 0) / @h), 0)', ' + '))
      when 'misclassification' then format('greatest(%s)', ml._each(outputs, '@#'))
      else format('(%s) / nullif(@h + %s, 0)', ml._each(outputs, '@# * @#', ' + '), growth.lambda)
    end,
    '@', side
  );
end;

comment on function ml._split_score(ml.tree_growth, int, text) is $$
SQL of what a node scores by a criterion; a split gains the scores of its sides less that of the whole.
The sums of a side `l` are l1, l2, …, its weight is lh.
$$;

create or replace function ml._tree_split(growth ml.tree_growth, outputs int, seed bigint)
returns bigint
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_drawn text := '';
  v_splits bigint;
begin
  if growth.features_per_node is not null then
    v_drawn := format(
      $query$
        join (
          select node.node, feature.feature,
            row_number() over (partition by node.node
              order by hashint8extended(feature.feature, hashint8extended(node.node, %s))) as draw
          from pg_temp._ml_tree_node as node
          cross join pg_temp._ml_tree_feature as feature
          where node.open
            and (cardinality(feature.edges) > 0 or cardinality(feature.categories) > 0)
        ) as drawn on drawn.node = histogram.node and drawn.feature = histogram.code / 1024 and drawn.draw <= %s
      $query$,
      seed, growth.features_per_node
    );
  end if;
  truncate pg_temp._ml_tree_split;
  execute format(
    $query$
    insert into pg_temp._ml_tree_split
    with whole as materialized (
      select *, %2$s as before
      from (
        select node, depth, %3$s, h as th, n as tn
        from pg_temp._ml_tree_node
        where open
        offset 0
      ) as opened
    ), bin as materialized (
      select
        histogram.*, feature.feature, feature.category,
        case
          when histogram.code = feature.feature * 1024 then '-Infinity'
          when feature.category then histogram.s1 / (histogram.h + %4$s)
          else histogram.code
        end as place
      from pg_temp._ml_tree_histogram as histogram
      join whole on whole.node = histogram.node
      join pg_temp._ml_tree_feature as feature on feature.feature = histogram.code / 1024
      %1$s
    ), running as (
      -- Missing values come first: each prefix of the bins is a left side with them, and less the first one a left
      -- side without.
      select
        node, feature, code, category, place,
        lead(code) over running as next_code,
        first_value(code) over running = feature * 1024 as has_missing,
        %5$s, sum(h) over running as h, sum(n) over running as n,
        %6$s, first_value(h) over running as first_h, first_value(n) over running as first_n
      from bin
      window running as (partition by node, feature order by place, code rows unbounded preceding)
    ), side as (
      select
        running.node, running.feature, running.code, running.category, running.place, running.next_code,
        running.has_missing, whole.depth, whole.before,
        way.*, %7$s, whole.th - way.lh as rh, whole.tn - way.ln as rn
      from running
      join whole on whole.node = running.node
      cross join lateral (
        select true as missing_left, running.h as lh, running.n as ln, %8$s
        where running.next_code is not null
          and running.code > running.feature * 1024
        union all
        select false, running.h - running.first_h, running.n - running.first_n, %9$s
        where running.has_missing
      ) as way
      where way.ln >= %10$s and whole.tn - way.ln >= %10$s
        and way.lh >= %11$s and whole.th - way.lh >= %11$s
    ), judged as (
      select *, %12$s + %13$s - before as gain
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
      best.node, depth, best.feature,
      -- Codes from here on go right; beyond all codes when only missing values do.
      case when not category then coalesce(next_code, feature * 1024 + 1023) end,
      subset.codes,
      -- Where nothing was missing, what is missing later goes where most rows went.
      case when has_missing then missing_left else ln >= rn end,
      (select count(*) from pg_temp._ml_tree_node) + 2 * (row_number() over (order by best.node) - 1),
      gain, array[%15$s], lh, ln, array[%16$s], rh, rn
    from best
    left join subset on subset.node = best.node
    $query$,
    v_drawn,
    ml._split_score(growth, outputs, 't'),
    ml._each(outputs, 's[#] as t#'),
    greatest(growth.lambda, 1e-12),
    ml._each(outputs, 'sum(s#) over running as s#'),
    ml._each(outputs, 'first_value(s#) over running as first_#'),
    ml._each(outputs, 'whole.t# - way.l# as r#'),
    ml._each(outputs, 'running.s# as l#'),
    ml._each(outputs, 'running.s# - running.first_#'),
    growth.min_rows, growth.min_weight,
    ml._split_score(growth, outputs, 'l'), ml._split_score(growth, outputs, 'r'),
    growth.min_gain,
    ml._each(outputs, 'l#'), ml._each(outputs, 'r#')
  );
  get diagnostics v_splits = row_count;
  return v_splits;
end;
$$;

comment on function ml._tree_split(ml.tree_growth, int, bigint) is $$
Writes the best split of each open node that has one into `_ml_tree_split`, and returns their number.
Missing values try both sides; categories are ordered by their mean.
$$;

create or replace function ml._tree_branch()
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
begin
  update pg_temp._ml_tree_node as node
  set feature = split.feature, cut = split.cut, codes = split.codes, missing_left = split.missing_left,
    gain = split.gain, left_node = split.left_node, right_node = split.left_node + 1
  from pg_temp._ml_tree_split as split
  where split.node = node.node;
  update pg_temp._ml_tree_node set open = false, scanned = false where open or scanned;
  insert into pg_temp._ml_tree_node (node, parent, depth, s, h, n, open, scanned)
  select left_node, node, depth + 1, ls, lh, ln, true, ln <= rn
  from pg_temp._ml_tree_split
  union all
  select left_node + 1, node, depth + 1, rs, rh, rn, true, ln > rn
  from pg_temp._ml_tree_split;
end;
$$;

comment on function ml._tree_branch() is $$
Adds the children of the splits in `_ml_tree_split` to the tree; of two children the smaller one is scanned.
$$;

create or replace function ml._tree_grow(
  growth ml.tree_growth,
  features int[],
  sums text[],
  weight text,
  seed bigint
)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
set jit to off
set client_min_messages to warning
-- A limit for the planner, so that it hashes all grouping sets in one scan: what is used is a few kB a node and
-- feature.
set work_mem to '256MB'
as $$
begin
  truncate pg_temp._ml_tree_node, pg_temp._ml_tree_histogram;
  execute format(
    'insert into pg_temp._ml_tree_node (node, depth, s, h, n, open, scanned)
     select 0, 0, array[%s], coalesce(sum(%s), 0), count(*), true, true from pg_temp._ml_tree_work where used',
    (select string_agg(format('sum(%s)', output), ', ' order by k)
      from unnest(sums) with ordinality as listed (output, k)),
    weight
  );
  for v_level in 0..growth.max_depth - 1 loop
    update pg_temp._ml_tree_node
    set open = false
    where open
      and n < greatest(growth.min_split, 2 * growth.min_rows);
    exit when not exists (select from pg_temp._ml_tree_node where open);
    perform ml._tree_histogram(features, sums, weight, v_level);
    exit when ml._tree_split(growth, cardinality(sums), seed) = 0;
    perform ml._tree_branch();
  end loop;
end;
$$;

comment on function ml._tree_grow(ml.tree_growth, int[], text[], text, bigint) is $$
Grows one tree on the rows of `_ml_tree_work` that are `used` into the table `_ml_tree_node`.
`sums` and `weight` are its columns that are summed: gradients and second derivatives (squares: the gain of gradient
boosting), or the weight times y and the weight (least squares), or times the indicators of classes and the weight
(Gini). `features` are the numbers of those that may be split by; a code of each is a column.
Source: Chen and Guestrin, XGBoost, KDD 2016; Huang and others, JoinBoost, SIGMOD 2023; Fisher, On grouping for
maximum homogeneity, 1958.
$$;

grant execute on function
  ml._tree_histogram(int[], text[], text, int),
  ml._split_score(ml.tree_growth, int, text),
  ml._tree_split(ml.tree_growth, int, bigint),
  ml._tree_branch(),
  ml._tree_grow(ml.tree_growth, int[], text[], text, bigint)
to insights_analyst, insights_admin, insights_worker;
