create or replace function ml._score_expression(model ml.model)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._document(model);
  v_trees text[] := '{}';
  v_tree int;
  v_size int;
  v_score text;
begin
  case v_document ->> 'kind'
    when 'linear' then
      select format('%L::float8', (v_document ->> 'intercept')::float8) || coalesce(string_agg(
        case
          when feature ->> 'type' = 'category' then format(
            ' + coalesce((%L::float8[])[array_position(%L::text[], x%s)], 0)',
            array(select value::float8 from jsonb_array_elements_text(feature -> 'coefficients') as value),
            array(select jsonb_array_elements_text(feature -> 'categories')),
            position
          )
          -- Within what a product can hold.
          else format(' + %1$L::float8 * least(greatest(coalesce(x%2$s, %3$L::float8), -%4$L::float8), %4$L::float8)',
            case when abs((feature ->> 'coefficient')::float8) > 1e-200 then (feature ->> 'coefficient')::float8
              else 0 end,
            position, (feature ->> 'mean')::float8,
            1e290 / greatest(abs((feature ->> 'coefficient')::float8), 1))
        end, '' order by position
      ), '')
      into v_score
      from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position);
    when 'trees' then
      for v_tree in select distinct node.tree from ml.tree_node as node where node.model_id = model.model_id
        order by node.tree loop
        v_trees := v_trees || ml._tree_expression(
          format('(select * from ml.tree_node where model_id = %s) as registered', model.model_id),
          v_tree,
          (select jsonb_object_agg(feature ->> 'name', position)
            from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position)),
          (select jsonb_object_agg(feature ->> 'name', feature -> 'categories')
            from jsonb_array_elements(v_document -> 'features') as feature),
          'format(''%L::float8'', value)'
        );
      end loop;
      -- A sum of sums, so that thousands of trees do not nest too deep for the parser.
      v_size := greatest(1, ceil(sqrt(cardinality(v_trees)))::int);
      select format('%L::float8', (v_document ->> 'intercept')::float8)
        || coalesce(string_agg(' + (' || part || ')', '' order by place), '')
      into v_score
      from (
        select (position - 1) / v_size as place, string_agg(tree, ' + ' order by position) as part
        from unnest(v_trees) with ordinality as grown (tree, position)
        group by (position - 1) / v_size
      ) as chunk;
    when 'embeddings' then
      v_score := format(
        '(select ml._similarity(one.embedding, other.embedding, %L) from ml.embedding as one, ml.embedding as other
          where one.model_id = %2$s and one.side = 1 and one.key = x1 and other.model_id = %2$s and other.side = %3$s
            and other.key = x2)',
        v_document ->> 'similarity', model.model_id, (v_document ->> 'sides')::int
      );
    when 'scores' then
      v_score := format(
        'coalesce((select listed.score from ml.score as listed where listed.model_id = %s and listed.keys = array[%s]),
            %L::float8)',
        model.model_id,
        (select string_agg('x' || position, ', ' order by position)
          from generate_series(1, jsonb_array_length(v_document -> 'features')) as position),
        (v_document ->> 'default')::float8
      );
  end case;
  return '(' || v_score || ')';
end;
$$;

comment on function ml._score_expression(ml.model) is $$
The raw score of a model as one SQL expression over its features x1, x2, … (see ml._feature_list).
$$;

grant execute on function ml._score_expression(ml.model)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
