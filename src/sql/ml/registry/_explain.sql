create or replace function ml._explain(model ml.model, relation text, id_expression text, inputs text, kept text)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._one_answer(model);
begin
  if v_document ->> 'kind' = 'trees' and exists (
    select from ml.tree_node as node where node.model_id = model.model_id and node.node = 0
      and node.feature is not null and node.cover <= 0
  ) then
    perform common.refuse('CF001', format('the trees of version %s do not say how many rows came by', model.version),
      'Import them with cover: get_dump(with_stats=True, dump_format="json").');
  elsif v_document ->> 'kind' = 'trees' then
    return ml._explanation(
      format('(select * from ml.tree_node where model_id = %s) as registered', model.model_id),
      (v_document ->> 'intercept')::float8,
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
    return format(
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
        select (v_document ->> 'intercept')::float8 + coalesce(
          sum((feature ->> 'coefficient')::float8 * (feature ->> 'mean')::float8)
            filter (where feature ->> 'type' = 'number'), 0)
        from jsonb_array_elements(v_document -> 'features') as feature
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
        from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position)
      )
    );
  end if;
  perform common.refuse(
    'CF001',
    format('a model of kind "%s" is not a sum of its features', left(v_document ->> 'kind', 100)),
    'Linear models and trees can be explained.'
  );
end;
$$;

comment on function ml._explain(ml.model, text, text, text, text) is $$
The statement that explains the raw scores of a model for the rows of a relation that are `kept`:
id, feature, feature_value and contribution.
All texts are SQL that the caller has checked. Error CF001: the model has no exact explanation.
$$;

grant execute on function ml._explain(ml.model, text, text, text, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
