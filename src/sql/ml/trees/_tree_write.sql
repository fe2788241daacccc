create or replace function ml._tree_table(output text, origin text, measures text, keys text)
returns void
language plpgsql
as $$
begin
  execute format(
    $query$
    create table %s (
      %s tree int not null, node int not null, parent int, depth int not null,
      feature text, threshold float8, categories text[], missing_left boolean, left_node int, right_node int,
      %s, gain float8, cover float8 not null, num_rows bigint not null,
      primary key (%s)
    )
    $query$,
    output, coalesce(origin || ',', ''), measures, keys
  );
end;
$$;

comment on function ml._tree_table(text, text, text, text) is $$
Creates the table of the nodes of a model.
`origin` are the definitions of its first columns, or null, `measures` those of what a leaf answers.
$$;

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

create or replace function ml._tree_publish(design ml.tree_design, columns text)
returns void
language plpgsql
as $$
begin
  execute format(
    'create table %s as select %s %s from pg_temp._ml_tree_fit as fit %s order by fit.gid',
    common.companion_table(design.output, '_summary'),
    case when design.groups = '{}' then '' else 'origin.*, ' end,
    columns,
    case when design.groups = '{}' then '' else 'join pg_temp._ml_tree_group as origin using (gid)' end
  );
  execute format('comment on table %s is %L', design.output,
    format('Nodes of a model of %s on %s, by ml.%s.', design.dependent, design.relation,
      case design.method when 'gbm' then 'gbm_train' else design.method end));
  drop table if exists pg_temp._ml_tree_source, pg_temp._ml_tree_group, pg_temp._ml_tree_fit, pg_temp._ml_tree_feature,
    pg_temp._ml_tree_row, pg_temp._ml_tree_work, pg_temp._ml_tree_node, pg_temp._ml_tree_histogram,
    pg_temp._ml_tree_split;
end;
$$;

comment on function ml._tree_publish(ml.tree_design, text) is $$
Writes the summary of a model, one row per group, and drops the temporary tables of the training.
`columns` are SQL over `fit`, a row of `_ml_tree_fit`.
$$;

grant execute on function
  ml._tree_table(text, text, text, text),
  ml._tree_write(text, text, int, text),
  ml._tree_publish(ml.tree_design, text)
to insights_analyst, insights_admin, insights_worker;
