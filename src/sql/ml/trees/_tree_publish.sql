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

grant execute on function ml._tree_publish(ml.tree_design, text)
to insights_analyst, insights_admin, insights_worker;
