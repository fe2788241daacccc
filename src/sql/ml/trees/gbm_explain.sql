create or replace function ml.gbm_explain(
  model_table text,
  new_data_table text,
  output_table text,
  id_value text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set work_mem to '64MB'
as $$
declare
  v_model constant ml.tree_model := ml._tree_model(model_table, array['gbm']);
  v_nodes constant text := common.relation(model_table)::text;
  v_relation regclass := common.relation(new_data_table);
  v_output text := common.output_table(output_table);
  v_id text := common.column_name(v_relation, v_model.id_col_name, 'id column');
  v_inputs constant text := ml._tree_inputs(v_model.independent_varnames, v_model.independent_vartypes, v_relation);
  v_kept constant text := case when id_value is null then 'true' else format('(%s)::text = %L', v_id, id_value) end;
  v_class constant text := case when v_model.objective = 'softmax' then 'class,' end;
  v_explained text;
  v_rows bigint;
begin
  if v_model.objective = 'softmax' then
    -- The score of each class has trees of its own.
    select string_agg(
      format('select %L::text as class, explained.* from (', level.class) || ml._explanation(
        format('(select * from %s as grown where class = %L) as grown', v_nodes, level.class), level.base,
        v_model.independent_varnames, v_model.independent_vartypes, v_model.categories, v_relation::text, v_id,
        v_inputs, v_kept
      ) || ') as explained', ' union all ' order by level.place
    )
    into v_explained
    from unnest(v_model.dependent_var_levels, v_model.base_scores) with ordinality as level (class, base, place);
  else
    v_explained := ml._explanation(v_nodes, v_model.base_score, v_model.independent_varnames,
      v_model.independent_vartypes, v_model.categories, v_relation::text, v_id, v_inputs, v_kept);
  end if;
  v_rows := ml._create_table(format(
    'create table %s (%s, %s feature, feature_value, contribution) as
     select id, %s ml._unquoted(feature), feature_value, contribution from (%s) as explained',
    v_output, v_id,
    v_class, v_class, v_explained
  ));
  if v_rows = 0 then
    perform common.refuse(
      'CF002',
      format('"%s" has no row with %s = %s', v_relation, left(v_id, 100), coalesce(id_value, 'anything')),
      'Give the id of a row of the new data.'
    );
  end if;
end;
$$;

comment on function ml.gbm_explain(text, text, text, text) is $$
@behavior -*
What moved each prediction: exact Shapley values of the features, path-dependent as TreeSHAP's.
Explains the row whose id is `id_value`, or all rows. Writes `output_table`: the id column, `feature` (`(base)` is the
mean prediction over the training rows), `feature_value` as text, and `contribution`, in the unit of the raw score:
log odds for a logistic model. A softmax model has a column `class` after the id, and explains the score of each class;
their differences are log odds. The contributions of a row sum to its raw prediction (`ml.gbm_predict(…, 'raw')`).
Errors: CF002 (not a model, a missing column, no such row), CF003 (`output_table` exists), CF005.
Source: Lundberg and others, From local explanations to global understanding with explainable AI for trees, Nature
Machine Intelligence 2, 2020.
$$;

grant execute on function ml.gbm_explain(text, text, text, text) to insights_analyst, insights_admin, insights_worker;
