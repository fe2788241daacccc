/*
 * Trees look at features through bins. A bin is an integer code, 1024 · feature + bin, where bin 0 is «missing», so
 * that codes of one feature compare like its values, missing ones first, and the union of all features' codes is one
 * key space: a histogram needs no second column to say which feature it is of.
 */
create or replace function ml._frequent_categories(feature int, kept text, max_bins int)
returns text[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_categories text[];
begin
  execute format(
    $query$
    select coalesce(array_agg(value order by value), '{}')
    from (
      select x%1$s as value
      from pg_temp._ml_tree_source
      where x%1$s is not null and %2$s
      group by 1
      order by count(*) desc, x%1$s
      limit %3$s
    ) as frequent
    $query$,
    feature, kept, max_bins
  ) into v_categories;
  return v_categories;
end;
$$;

comment on function ml._frequent_categories(int, text, int) is $$
The most frequent values of a categorical feature in the rows of `_ml_tree_source` that are `kept`, in their order.
$$;

create or replace function ml._quantile_edges(feature int, kept text, max_bins int)
returns float8[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_edges float8[];
begin
  -- Values with more than their share of the rows get a bin each, the others share the rest evenly; edges are halfway.
  execute format(
    $query$
    with tally as (
      select x%1$s as value, count(*)::float8 as row_count
      from pg_temp._ml_tree_source
      where x%1$s is not null and %2$s
      group by 1
    ), marked as (
      select *, count(*) over () <= %3$s or row_count > sum(row_count) over () / %3$s as heavy
      from tally
    ), placed as (
      select
        value, heavy,
        count(*) filter (where heavy) over (order by value) as heavies_to_here,
        count(*) filter (where heavy) over () as heavies,
        sum(row_count) filter (where not heavy) over (order by value) as light_to_here,
        sum(row_count) filter (where not heavy) over () as light
      from marked
    ), bin as (
      select min(value) as lowest, max(value) as highest
      from placed
      group by heavies_to_here, heavy, case when not heavy then ceil(light_to_here * (%3$s - heavies) / light) end
    ), edge as (
      select lowest, below, (below + lowest) / 2 as halfway
      from (select lowest, lag(highest) over (order by lowest) as below from bin) as neighbours
      where below is not null
    )
    select coalesce(
      array_agg(case when halfway > below and halfway < 'Infinity' then halfway else lowest end order by lowest), '{}'
    )
    from edge
    $query$,
    feature, kept, max_bins
  ) into v_edges;
  return v_edges;
end;
$$;

comment on function ml._quantile_edges(int, text, int) is $$
The edges that cut a numeric feature into bins of about equal numbers of the rows of `_ml_tree_source` that are `kept`.
$$;

create or replace function ml._tree_levels(design ml.tree_design, kept text)
returns text[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_levels text[];
begin
  execute format(
    'select array_agg(y order by y)
     from (select y from pg_temp._ml_tree_source where y is not null and %s group by y limit 101) as seen',
    kept
  ) into v_levels;
  if design.dependent_type in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) then
    v_levels := array(select class from unnest(v_levels) as class order by class::bigint);
  end if;
  if cardinality(v_levels) > 100 then
    perform common.refuse('CF008', format('"%s" has more than 100 classes', left(design.dependent, 100)),
      'Cast it to float8 when it is a number to predict.');
  elsif cardinality(v_levels) = 1 then
    perform common.refuse(
      'CF004',
      format('"%s" holds one class only, %s', left(design.dependent, 100), left(v_levels[1], 100)),
      'A classifier needs rows of two classes or more.'
    );
  end if;
  return v_levels;
end;
$$;

comment on function ml._tree_levels(ml.tree_design, text) is $$
The classes of the rows of `_ml_tree_source` that are `kept`: numbers in their order, others as text.
Errors: CF004 (one class only), CF008 (over 100).
$$;

create or replace function ml._tree_bin(design ml.tree_design, gid int)
returns ml.tree_fit
language plpgsql
set search_path to pg_catalog, pg_temp
set jit to off
set client_min_messages to warning
as $$
declare
  v_fit ml.tree_fit;
  v_group constant text := case when design.groups = '{}' then 'true' else format('gid = %s', gid) end;
  v_kept text := format('%s and y is not null and not valid', v_group);
  v_codes text[] := '{}';
  v_feature record;
  v_seen record;
  v_sums record;
begin
  v_fit.gid := gid;
  v_fit.outputs := 1;
  if design.classifies then
    v_fit.levels := ml._tree_levels(design, v_group);
    v_fit.outputs := cardinality(v_fit.levels);
  end if;
  execute format(
    'select count(*) as row_count,
       count(*) filter (where weight < 0 or weight in (''NaN'', ''Infinity'')) as bad_weights,
       count(*) filter (where y is not null and weight is not null and not valid) as training
     from pg_temp._ml_tree_source where %s',
    v_group
  ) into v_seen;
  if v_seen.training = 0 then
    perform common.refuse('CF004', format('"%s" has no row to train on', design.relation),
      'Rows need a dependent variable, and not all of them may be for validation.');
  elsif v_seen.bad_weights > 0 then
    perform common.refuse('CF001', format('%s rows have a negative or non-finite weight', v_seen.bad_weights),
      'Weights are finite and 0 or more.');
  end if;
  -- Quantiles of 100,000 rows are as good as those of all.
  if v_seen.training > 150000 then
    v_kept := format('%s and key & 1048575 < %s', v_kept, (1048576 * 100000.0 / v_seen.training)::bigint);
  end if;

  for v_feature in select feature, category from pg_temp._ml_tree_feature order by feature loop
    if v_feature.category then
      update pg_temp._ml_tree_feature
      set categories = ml._frequent_categories(v_feature.feature, v_kept, design.num_bins)
      where feature = v_feature.feature;
    else
      update pg_temp._ml_tree_feature
      set edges = ml._quantile_edges(v_feature.feature, v_kept, design.num_bins)
      where feature = v_feature.feature;
    end if;
  end loop;
  select
    array_agg(feature order by feature) filter (where varies), string_agg('f' || feature, ', ' order by feature)
      filter (where varies),
    array_agg(case when category then 'category' else 'number' end order by feature),
    coalesce(jsonb_object_agg(name, to_jsonb(categories)) filter (where category), '{}'),
    array_agg(format(
      case
        when category then '(%1$s + coalesce(array_position(%2$L::text[], x%3$s), 0))::int as f%3$s'
        else '(%1$s + coalesce(width_bucket(x%3$s, %4$L::float8[]) + 1, 0))::int as f%3$s'
      end,
      feature * 1024, categories, feature, edges
    ) order by feature) filter (where varies)
  into v_fit.usable, v_fit.codes, v_fit.types, v_fit.categories, v_codes
  from (
    select *, cardinality(edges) > 0 or cardinality(categories) > 0 as varies
    from pg_temp._ml_tree_feature
  ) as feature;
  execute format(
    $query$
    create temp table _ml_tree_row on commit drop as
    select key, %1$s as y, weight, valid %2$s
    from pg_temp._ml_tree_source
    where %3$s and y is not null and weight is not null
    $query$,
    case when design.classifies then format('array_position(%L::text[], y)::float8', v_fit.levels) else 'y' end,
    coalesce(', ' || array_to_string(v_codes, ', '), ''), v_group
  );

  select
    count(*) filter (where not valid) as row_count, count(*) filter (where valid) as validation_count,
    count(*) filter (where y in ('NaN', 'Infinity', '-Infinity')) as non_finite,
    sum(weight) filter (where not valid) as weight,
    sum(weight * y) filter (where not valid) as total,
    sum(weight * y * y) filter (where not valid) as squares
  into v_sums
  from pg_temp._ml_tree_row;
  if v_sums.non_finite > 0 then
    perform common.refuse(
      'CF001',
      format('%s rows have NaN or infinity in "%s"', v_sums.non_finite, left(design.dependent, 100)),
      'Make them null to leave them out.'
    );
  elsif coalesce(v_sums.weight, 0) <= 0 then
    perform common.refuse('CF004', format('the weights "%s" sum to 0', left(design.weights, 100)),
      'At least one row must count.');
  elsif v_fit.usable is null then
    perform common.refuse('CF004', 'no feature varies',
      format('All of %s are constant or null.', array_to_string(design.features, ', ')));
  end if;
  v_fit.row_count := v_sums.row_count;
  v_fit.validation_count := v_sums.validation_count;
  v_fit.skipped := v_seen.row_count - v_sums.row_count - v_sums.validation_count;
  v_fit.mean := v_sums.total / v_sums.weight;
  v_fit.squares := v_sums.squares - v_sums.total ^ 2 / v_sums.weight;
  return v_fit;
end;
$$;

comment on function ml._tree_bin(ml.tree_design, int) is $$
Cuts the features of one group into bins, and returns what is known of the group before a tree is grown.
Writes the bins into `_ml_tree_feature` and the rows into `_ml_tree_row`: key, y (a class is its place in the levels),
weight, valid and one code for each feature that varies. Numbers and booleans are cut at quantiles, NaN counts as
missing; text, enum and uuid are categories, the rarer ones beyond `num_bins` count as missing.
Errors: CF001 (weights, NaN or infinity), CF004 (no rows, one class, nothing varies), CF008 (over 100 classes).
$$;

grant execute on function
  ml._frequent_categories(int, text, int),
  ml._quantile_edges(int, text, int),
  ml._tree_levels(ml.tree_design, text),
  ml._tree_bin(ml.tree_design, int)
to insights_analyst, insights_admin, insights_worker;
