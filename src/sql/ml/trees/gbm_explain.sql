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
  v_summary jsonb := ml._model_summary(model_table, array['gbm']);
  v_model regclass := common.relation(model_table);
  v_relation regclass := common.relation(new_data_table);
  v_output text := common.output_table(output_table);
  v_id text := common.column_name(v_relation, v_summary ->> 'id_col_name', 'id column');
  v_names text[] := array(select jsonb_array_elements_text(v_summary -> 'independent_varnames'));
  v_types text[] := array(select jsonb_array_elements_text(v_summary -> 'independent_vartypes'));
  v_rows bigint;
begin
  execute format(
    'create table %s (%s, feature, feature_value, contribution) as
      select id, ml._unquoted(feature), feature_value, contribution from (', v_output, v_id) || ml._explanation(
    v_model::text, (v_summary ->> 'base_score')::float8, v_names, v_types, v_summary -> 'categories', v_relation::text,
    v_id,
    ml._tree_inputs(v_names, v_types, v_relation),
    case when id_value is null then 'true' else format('(%s)::text = %L', v_id, id_value) end
  ) || ') as explained';
  get diagnostics v_rows = row_count;
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
log odds for a logistic model. The contributions of a row sum to its raw prediction (`ml.gbm_predict(…, 'raw')`).
Errors: CF002 (not a model, a missing column, no such row), CF003 (`output_table` exists), CF005.
Source: Lundberg and others, From local explanations to global understanding with explainable AI for trees, Nature
Machine Intelligence 2, 2020.
$$;

grant execute on function ml.gbm_explain(text, text, text, text) to insights_analyst, insights_admin, insights_worker;
