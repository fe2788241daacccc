create or replace function ml._linear_expression(document jsonb)
returns text
language sql
stable
parallel safe
begin atomic
  select format('%L::float8', (document ->> 'intercept')::float8) || coalesce(string_agg(
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
  from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position);
end;

comment on function ml._linear_expression(jsonb) is $$
The sum of a linear document as SQL over its features x1, x2, ….
$$;

create or replace function ml._sum_expression(intercept float8, terms text[])
returns text
language sql
stable
parallel safe
begin atomic
  -- A sum of sums, so that thousands of trees do not nest too deep for the parser.
  select format('%L::float8', intercept) || coalesce(string_agg(' + (' || part || ')', '' order by place), '')
  from (
    select (position - 1) / greatest(1, ceil(sqrt(cardinality(terms)))::int) as place,
      string_agg(term, ' + ' order by position) as part
    from unnest(terms) with ordinality as listed (term, position)
    group by 1
  ) as chunk;
end;

comment on function ml._sum_expression(float8, text[]) is $$The sum of an intercept and of SQL expressions, as SQL.$$;

create or replace function ml._leaf_scores(model_id bigint, intercepts jsonb, trees text[])
returns text
language sql
stable
parallel safe
begin atomic
  -- A row walks each tree once: the place of its leaf is then looked up for each class.
  with leaf as (
    select dense_rank() over (order by node.tree) as tree, node.node, node.class_values
    from ml.tree_node as node
    where node.model_id = _leaf_scores.model_id
      and node.class_values is not null
  )
  select format('(select array[%s] from (select array[%s]::int[] as leaf offset 0) as reached)',
    string_agg(ml._sum_expression(intercept::float8, array(
      select format('(%L::float8[])[leaf[%s]]', array_agg(leaf.class_values[class.place] order by leaf.node), leaf.tree)
      from leaf
      group by leaf.tree
      order by leaf.tree
    )), ', ' order by class.place),
    array_to_string(trees, ', ')
  )
  from jsonb_array_elements(intercepts) with ordinality as class (intercept, place);
end;

comment on function ml._leaf_scores(bigint, jsonb, text[]) is $$
The array of the scores of the classes as SQL, for trees whose leaves have a value for each class.
`trees` is the SQL of the place of the leaf that a row reaches, for each tree in ascending order.
$$;

create or replace function ml._score_expression(model ml.model)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._document(model);
  v_classes constant text[] := ml._classes(v_document);
  v_trees text[] := '{}';
  v_numbers int[] := '{}';
  v_tree int;
  v_score text;
begin
  case v_document ->> 'kind'
    when 'linear' then
      if v_classes is null then
        v_score := ml._linear_expression(v_document);
      else
        select format('array[%s]', string_agg(ml._linear_expression(output), ', ' order by position))
        into v_score
        from jsonb_array_elements(v_document -> 'outputs') with ordinality as listed (output, position);
      end if;
    when 'trees' then
      for v_tree in select distinct node.tree from ml.tree_node as node where node.model_id = model.model_id
        order by node.tree loop
        v_numbers := v_numbers || v_tree;
        v_trees := v_trees || ml._tree_expression(
          format('(select *, count(class_values) over (order by node) as leaf from ml.tree_node where model_id = %s
            and tree = %s) as registered', model.model_id, v_tree),
          v_tree,
          (select jsonb_object_agg(feature ->> 'name', position)
            from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position)),
          (select jsonb_object_agg(feature ->> 'name', feature -> 'categories')
            from jsonb_array_elements(v_document -> 'features') as feature),
          'case when class_values is null then format(''%L::float8'', value) else leaf::text end'
        );
      end loop;
      if v_classes is null then
        v_score := ml._sum_expression((v_document ->> 'intercept')::float8, v_trees);
      elsif not v_document ? 'tree_classes' then
        v_score := ml._leaf_scores(model.model_id, v_document -> 'intercepts', v_trees);
      else
        -- Each class has trees of its own.
        select format('array[%s]', string_agg(ml._sum_expression(intercept::float8, array(
          select grown.expression
          from unnest(v_trees, v_numbers) as grown (expression, tree)
          where (v_document -> 'tree_classes' ->> grown.tree - 1)::int = place
          order by grown.tree
        )), ', ' order by place))
        into v_score
        from jsonb_array_elements_text(v_document -> 'intercepts') with ordinality as listed (intercept, place);
      end if;
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
    when 'ensemble' then
      -- Each member reads its features by its own numbers.
      select string_agg(format(
        '%L::float8 * (select %s from (select %s offset 0) as member)',
        member.weight,
        ml._log_odds_expression((member.model).coefficients, ml._score_expression(member.model)),
        coalesce((
          select string_agg(
            format(
              case when feature ->> 'type' = 'number'
                and ((member.model).coefficients -> 'single_precision')::boolean then 'ml._single_precision(x%s) as x%s'
                else 'x%s as x%s' end,
              (
                select place
                from jsonb_array_elements(v_document -> 'features') with ordinality as whole (known, place)
                where known -> 'name' = feature -> 'name'
              ),
              position
            ), ', ' order by position
          )
          from jsonb_array_elements((member.model).coefficients -> 'features') with ordinality
            as listed (feature, position)
        ), '1 as one')
      ), ' + ' order by member.position)
      into v_score
      from ml._members(v_document) with ordinality as member (model, weight, position);
  end case;
  return '(' || v_score || ')';
end;
$$;

comment on function ml._score_expression(ml.model) is $$
The raw score of a model as one SQL expression over its features x1, x2, … (see ml._feature_list).
With several classes it is an array of one score for each.
$$;

grant execute on function ml._linear_expression(jsonb), ml._sum_expression(float8, text[]),
  ml._leaf_scores(bigint, jsonb, text[]), ml._score_expression(ml.model)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
