create or replace function ml._tree_read(design ml.tree_design)
returns void
language plpgsql
set jit to off
set client_min_messages to warning
as $$
declare
  v_label text := common.expression(design.dependent, design.relation);
  v_columns text[] := '{}';
  v_type regtype;
  v_groups bigint;
begin
  if design.num_bins is null or design.num_bins not between 2 and 500 then
    perform common.refuse('CF001', format('%s bins', coalesce(design.num_bins::text, 'null')),
      'Choose 2 to 500 bins; 64 is a good number.');
  elsif cardinality(design.features) > 1500 then
    perform common.refuse('CF008', format('%s features', cardinality(design.features)),
      'Trees take up to 1500 features.');
  end if;
  drop table if exists pg_temp._ml_tree_source, pg_temp._ml_tree_group, pg_temp._ml_tree_fit, pg_temp._ml_tree_feature,
    pg_temp._ml_tree_row, pg_temp._ml_tree_work, pg_temp._ml_tree_node, pg_temp._ml_tree_histogram,
    pg_temp._ml_tree_split;
  create temp table _ml_tree_fit of ml.tree_fit on commit drop;
  create temp table _ml_tree_feature (
    feature int primary key,
    name text not null,
    category boolean not null,
    edges float8[],
    categories text[]
  ) on commit drop;

  for v_place in 1..cardinality(design.features) loop
    v_type := common.expression_type(design.features[v_place], design.relation, 'feature');
    insert into pg_temp._ml_tree_feature (feature, name, category)
    values (v_place, design.features[v_place], ml._is_category(v_type));
    v_columns := v_columns || format(
      case when ml._is_category(v_type) then '(%s)::text as x%s' else 'nullif(%s, ''NaN'') as x%s' end,
      case when ml._is_category(v_type) then design.features[v_place]
        else common.numeric_expression(design.features[v_place], design.relation, 'feature') end,
      v_place
    );
  end loop;
  v_columns := array[
    format('hashtextextended(coalesce((%s)::text, ''''), %s) as key', design.id, design.seed),
    case when design.classifies then format('(%s)::text as y', v_label)
      else common.numeric_expression(design.dependent, design.relation, 'dependent variable') || ' as y' end,
    case when design.weights is null then '1::float8 as weight'
      else common.numeric_expression(design.weights, design.relation, 'weights') || ' as weight' end,
    case when design.validation is null then 'false as valid'
      else format('coalesce((%s), false) as valid', common.expression(design.validation, design.relation)) end
  ] || v_columns;

  -- The source, which may be an expensive view, is read once.
  if design.groups = '{}' then
    execute format('create temp table _ml_tree_source on commit drop as select %s from %s',
      array_to_string(v_columns, ', '), design.relation);
  else
    -- Sums depend on the order of the rows in the last digit: within a group it is that of the source.
    execute format(
      $query$
      create temp table _ml_tree_source on commit drop as
      select dense_rank() over (order by %1$s)::int as gid, *
      from (select row_number() over () as line, %2$s, %3$s from %4$s) as read
      order by gid, line
      $query$,
      ml._each(cardinality(design.groups), 'g#'),
      (
        select string_agg(format('%s as g%s', name, place), ', ' order by place)
        from unnest(design.groups) with ordinality as listed (name, place)
      ),
      array_to_string(v_columns, ', '), design.relation
    );
    execute format(
      'create temp table _ml_tree_group on commit drop as select distinct gid, %s from pg_temp._ml_tree_source',
      (
        select string_agg(format('g%s as %s', place, name), ', ' order by place)
        from unnest(design.groups) with ordinality as listed (name, place)
      )
    );
    get diagnostics v_groups = row_count;
    -- Each tree takes locks until the end of the transaction.
    if v_groups * design.num_trees > 10000 then
      perform common.refuse('CF008', format('%s groups of %s trees', v_groups, design.num_trees),
        'Up to 10000 trees are trained at once: train parts of the groups, or fewer trees.');
    end if;
    alter table pg_temp._ml_tree_group alter column gid set not null;
    create index on pg_temp._ml_tree_source (gid);
    analyze pg_temp._ml_tree_source;
  end if;
exception when data_exception or syntax_error_or_access_rule_violation then
  if sqlstate ~ '^CF' then
    raise;
  end if;
  perform ml._caller_error(sqlstate, sqlerrm, design.relation);
end;
$$;

comment on function ml._tree_read(ml.tree_design) is $$
Reads the rows of a training into temporary tables, once.
`_ml_tree_source` has key, y (as text where it is a class), weight, valid and the features x1, x2, …; with grouping
columns also `gid`, and `_ml_tree_group` has one row per group. `_ml_tree_feature` has the features, not yet cut into
bins, `_ml_tree_fit` is empty.
Errors: CF001, CF002, CF005, CF007 (overflow), CF008 (too many features or groups).
$$;

grant execute on function ml._tree_read(ml.tree_design) to insights_analyst, insights_admin, insights_worker;
