create or replace function ml._explain(
  model ml.model,
  relation text,
  id_expression text,
  inputs text,
  kept text,
  class text
)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._document(model);
  v_classes constant text[] := ml._classes(v_document);
  v_place constant int := array_position(v_classes, class);
  v_linear jsonb := v_document;
  v_statement text;
begin
  if v_classes is null and class is not null then
    perform common.refuse('CF001', format('version %s answers with one number', model.version),
      'Leave the class out.');
  elsif v_classes is not null and v_place is null then
    perform common.refuse(
      'CF001',
      format('version %s has no class "%s"', model.version, coalesce(left(class, 100), 'null')),
      format('There are %s.', left(array_to_string(v_classes, ', '), 300))
    );
  elsif v_document ->> 'kind' = 'trees' and exists (
    select from ml.tree_node as node where node.model_id = model.model_id and node.node = 0
      and node.feature is not null and node.cover <= 0
  ) then
    perform common.refuse('CF001', format('the trees of version %s do not say how many rows came by', model.version),
      'Import them with cover: get_dump(with_stats=True, dump_format="json").');
  elsif v_document ->> 'kind' = 'trees' then
    v_statement := ml._explanation(
      -- With several classes, the trees of the class, or the values that all trees have for it.
      case
        when v_classes is null then format('(select * from ml.tree_node where model_id = %s) as registered',
          model.model_id)
        when v_document ? 'tree_classes' then format(
          '(select * from ml.tree_node where model_id = %s and tree = any (%L::int[])) as registered', model.model_id,
          array(
            select tree
            from jsonb_array_elements_text(v_document -> 'tree_classes') with ordinality as listed (place, tree)
            where place::int = v_place
          )
        )
        else format(
          '(select tree, node, parent, feature, threshold, categories, missing_left, left_node, cover,
              class_values[%s] as value
            from ml.tree_node where model_id = %s) as registered',
          v_place, model.model_id
        )
      end,
      coalesce(v_document ->> 'intercept', v_document -> 'intercepts' ->> v_place - 1)::float8,
      array(select feature ->> 'name'
        from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position)
          order by position),
      array(select feature ->> 'type'
        from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position)
          order by position),
      (select jsonb_object_agg(feature ->> 'name', feature -> 'categories')
        from jsonb_array_elements(v_document -> 'features') as feature),
      relation, id_expression, inputs, kept
    );
  elsif v_document ->> 'kind' = 'linear' then
    if v_classes is not null then
      v_linear := v_document -> 'outputs' -> v_place - 1;
    end if;
    v_statement := format(
      $query$
      select input.id, explained.feature, explained.feature_value, explained.contribution
      from (select row_number() over () as line, %s as id, %s from %s where %s) as input
      cross join lateral (
        values ('(base)', null::text, %L::float8) %s
      ) as explained (feature, feature_value, contribution)
      order by input.line, abs(explained.contribution) desc
      $query$,
      id_expression, coalesce(nullif(inputs, ''), '1 as one'), relation, kept,
      (
        select (v_linear ->> 'intercept')::float8 + coalesce(
          sum((feature ->> 'coefficient')::float8 * (feature ->> 'mean')::float8)
            filter (where feature ->> 'type' = 'number'), 0)
        from jsonb_array_elements(v_linear -> 'features') as feature
      ),
      (
        select string_agg(
          case when feature ->> 'type' = 'category' then format(
            ', (%L, x%2$s, coalesce((%3$L::float8[])[array_position(%4$L::text[], x%2$s)], 0))', feature ->> 'name',
            position,
            array(select value::float8 from jsonb_array_elements_text(feature -> 'coefficients') as value),
            array(select jsonb_array_elements_text(feature -> 'categories'))
          )
          else format(
            ', (%L, x%2$s::text, coalesce(ml._times(%3$L::float8, x%2$s - %4$L::float8), 0))', feature ->> 'name',
            position,
            (feature ->> 'coefficient')::float8, (feature ->> 'mean')::float8
          ) end,
          '' order by position
        )
        from jsonb_array_elements(v_linear -> 'features') with ordinality as listed (feature, position)
      )
    );
  else
    perform common.refuse(
      'CF001',
      format('a model of kind "%s" is not a sum of its features', left(v_document ->> 'kind', 100)),
      'Linear models and trees can be explained.'
    );
  end if;
  return case
    when v_classes is null then v_statement
    else format(
      'select id, feature, case when feature = ''(base)'' then %L else feature_value end as feature_value, contribution
        from (%s) as explained',
      class, v_statement
    )
  end;
end;
$$;

comment on function ml._explain(ml.model, text, text, text, text, text) is $$
The statement that explains the raw scores of a model for the rows of a relation that are `kept`:
id, feature, feature_value and contribution.
With several classes it explains the score of one, which is the value of the feature (base).
All texts but the class are SQL that the caller has checked. Error CF001: the model has no exact explanation, no such
class.
$$;

grant execute on function ml._explain(ml.model, text, text, text, text, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
