create or replace function ml._is_calibration(method text, part jsonb)
returns boolean
language sql
immutable
parallel safe
begin atomic
  select coalesce(
    case
      when method = 'platt' then ml._is_double(part -> 'slope') and ml._is_double(part -> 'intercept')
      when method = 'isotonic' and jsonb_typeof(part -> 'scores') = 'array'
        and jsonb_typeof(part -> 'answers') = 'array' then
        jsonb_array_length(part -> 'scores') = jsonb_array_length(part -> 'answers')
        and jsonb_array_length(part -> 'scores') > 0
        and (select bool_and(ml._is_double(number))
          from jsonb_array_elements((part -> 'scores') || (part -> 'answers')) as number)
        -- The answers are probabilities, and both ascend.
        and (
          select bool_and(answer between 0 and 1 and coalesce(score > last_score and answer >= last_answer, true))
          from (
            select score, answer, lag(score) over (order by place) as last_score,
              lag(answer) over (order by place) as last_answer
            from (
              select (part -> 'scores' ->> place)::numeric as score, (part -> 'answers' ->> place)::numeric as answer,
                place
              from generate_series(0, jsonb_array_length(part -> 'scores') - 1) as place
              where jsonb_typeof(part -> 'scores' -> place) = 'number'
                and jsonb_typeof(part -> 'answers' -> place) = 'number'
            ) as point
          ) as followed
        )
    end,
    false
  );
end;

comment on function ml._is_calibration(text, jsonb) is $$Whether an object has the numbers of a calibration.$$;

create or replace function ml._check_document(document jsonb)
returns void
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kind constant text := document ->> 'kind';
  v_classes int;
  v_output jsonb;
  v_wrong text;
begin
  if document is null or jsonb_typeof(document) <> 'object'
    or coalesce(v_kind, '') not in ('linear', 'trees', 'embeddings', 'scores', 'ensemble') then
    perform common.refuse('CF009', format('a model document of kind "%s"', coalesce(left(v_kind, 100), 'null')),
      'The kind is linear, trees, embeddings, scores or ensemble; src/sql/ml/README.md shows each.');
  end if;
  if document ? 'classes' then
    v_classes := case when jsonb_typeof(document -> 'classes') = 'array' and v_kind in ('linear', 'trees') then (
      select count(distinct name)
      from jsonb_array_elements(document -> 'classes') as class (name)
      where jsonb_typeof(name) = 'string' and length(name #>> '{}') between 1 and 1000
    ) end;
    v_wrong := case
      when v_classes is distinct from jsonb_array_length(document -> 'classes') or v_classes not between 2 and 100
        then '2 to 100 names of classes, all different, for linear or trees'
      when coalesce(document ->> 'link', '') not in ('softmax', 'identity') then 'the link softmax or identity'
      when jsonb_typeof(document -> 'features') is distinct from 'array' then 'a list of features'
      when v_kind = 'linear' and (jsonb_typeof(document -> 'outputs') is distinct from 'array'
        or jsonb_array_length(document -> 'outputs') <> v_classes) then 'one of the outputs for each class'
      when v_kind = 'trees' and (jsonb_typeof(document -> 'intercepts') is distinct from 'array'
        or jsonb_array_length(document -> 'intercepts') <> v_classes
        or exists (select from jsonb_array_elements(document -> 'intercepts') as number
          where not ml._is_double(number))) then 'a number in "intercepts" for each class'
      when v_kind = 'trees' and document ? 'tree_classes' and (jsonb_typeof(document -> 'tree_classes') <> 'array'
        or exists (select from jsonb_array_elements(document -> 'tree_classes') as place
          where jsonb_typeof(place) <> 'number' or place::numeric not in (select generate_series(1, v_classes))))
        then '"tree_classes", the number of a class for each tree'
      when document ? 'calibration' and not coalesce(
        jsonb_typeof(document #> '{calibration,classes}') = 'array'
        and jsonb_array_length(document #> '{calibration,classes}') = v_classes
        and (
          select bool_and(ml._is_calibration(document #>> '{calibration,method}', part))
          from jsonb_array_elements(document #> '{calibration,classes}') as part
        ),
        false
      ) then 'a sound calibration of each class'
    end;
    if v_wrong is not null then
      perform common.refuse('CF009', format('the document of several classes lacks %s', v_wrong),
        'src/sql/ml/registry/README.md shows what each kind of model needs.');
    end if;
    if v_kind = 'linear' then
      for v_output in select output from jsonb_array_elements(document -> 'outputs') as output loop
        perform ml._check_document(v_output);
        if v_output ->> 'kind' <> 'linear' or (
          select jsonb_agg(jsonb_build_array(feature -> 'name', feature -> 'type') order by position)
          from jsonb_array_elements(v_output -> 'features') with ordinality as listed (feature, position)
        ) is distinct from (
          select jsonb_agg(jsonb_build_array(feature -> 'name', feature -> 'type') order by position)
          from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position)
        ) then
          perform common.refuse('CF009', 'the outputs of the classes have other features than the document',
            'Each output is a linear document with the features of all, in their order.');
        end if;
      end loop;
      -- Its features are those of the outputs, which are checked.
      return;
    end if;
  elsif coalesce(document ->> 'link', '') not in ('identity', 'logit', 'log') then
    perform common.refuse('CF009', format('the link of the model is "%s"', coalesce(document ->> 'link', 'null')),
      'Give identity (the score is the answer), logit (a probability) or log.');
  end if;
  if jsonb_typeof(document -> 'features') is distinct from 'array' then
    perform common.refuse('CF009', 'the document has no list of features',
      'Give [{"name": "tax", "type": "number"}, …].');
  end if;
  select format('feature %s: %s', position, feature)
  into v_wrong
  from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position)
  where jsonb_typeof(feature) <> 'object'
    or coalesce(feature ->> 'name', '') = ''
    or coalesce(feature ->> 'type', '') not in ('number', 'category')
    or (v_kind = 'linear' and feature ->> 'type' = 'number'
      and not (ml._is_double(feature -> 'coefficient') and ml._is_double(feature -> 'mean')))
    or (
      v_kind = 'linear' and feature ->> 'type' = 'category'
      and not coalesce(
        jsonb_typeof(feature -> 'categories') = 'array'
        and jsonb_array_length(feature -> 'categories') = jsonb_array_length(feature -> 'coefficients')
        and (select bool_and(ml._is_double(coefficient))
          from jsonb_array_elements(feature -> 'coefficients') as coefficient) is not false,
        false
      )
    )
    or (v_kind = 'trees' and feature ->> 'type' = 'category' and feature ? 'categories'
      and jsonb_typeof(feature -> 'categories') <> 'array')
  limit 1;
  if v_wrong is not null then
    perform common.refuse(
      'CF009',
      left(v_wrong, 300),
      'A feature has name and type; in a linear model a number has coefficient and mean, a category has '
        || 'categories and coefficients; in trees a category may have categories.'
    );
  end if;
  select feature ->> 'name' into v_wrong from jsonb_array_elements(document -> 'features') as feature group by 1
  having count(*) > 1 limit 1;
  if v_wrong is not null then
    perform common.refuse('CF009', format('the feature "%s" is listed twice', left(v_wrong, 100)),
      'Names of features are unique.');
  end if;
  v_wrong := case
    when v_classes is null and v_kind in ('linear', 'trees')
      and not ml._is_double(document -> 'intercept') then 'a number "intercept"'
    when v_kind = 'trees' and coalesce(jsonb_typeof(document -> 'nodes'), '') <> 'array' then 'a list "nodes"'
    when v_kind = 'embeddings'
      and (coalesce(document ->> 'similarity', '') not in ('inner_product', 'cosine')
        or coalesce(document ->> 'sides', '') not in ('1', '2'))
          then '"similarity" (inner_product or cosine) and "sides" (1 or 2)'
    when v_kind = 'embeddings'
      and coalesce(jsonb_typeof(document -> 'embeddings'), '') <> 'array' then 'a list "embeddings"'
    when v_kind = 'embeddings' and jsonb_array_length(document -> 'features') <> 2 then 'two features, the keys'
    when v_kind = 'scores' and coalesce(jsonb_typeof(document -> 'scores'), '') <> 'array' then 'a list "scores"'
    when v_kind = 'scores' and jsonb_array_length(document -> 'features') = 0 then 'a key'
    when v_kind = 'scores' and document ? 'default'
      and not ml._is_double(document -> 'default') then 'a number as default'
    when document ? 'calibration' and v_classes is null
      and not ml._is_calibration(document #>> '{calibration,method}', document -> 'calibration')
        then 'a sound calibration'
  end;
  if v_wrong is not null then
    perform common.refuse('CF009', format('the document lacks %s', left(v_wrong, 100)),
      'src/sql/ml/README.md shows what each kind of model needs.');
  end if;
end;
$$;

comment on function ml._check_document(jsonb) is $$
Refuses a model document that ml.predict could not serve. Error CF009.
$$;

/*
 * A definer: it writes the registry, and is granted to those who may train. It reads its arguments only, never a
 * relation.
 */
create or replace function ml.register_model(
  project text,
  task text,
  algorithm text,
  document jsonb,
  metrics jsonb default '{}',
  parameters jsonb default '{}',
  metric text default null,
  seed bigint default null,
  data_watermark timestamptz default null,
  row_count bigint default null,
  duration interval default null,
  description text default null
)
returns int
language plpgsql
volatile
-- A definer: it checks the document and writes the registry, which no role may write.
security definer
set search_path from current
set client_min_messages to notice
as $$
declare
  v_project ml.project;
  v_metric text;
  v_higher boolean;
  v_model_id bigint;
  v_version int;
  v_wrong text;
begin
  if project is null or project !~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$' or length(project) > 200 then
    perform common.refuse('CF001', format('"%s" is not a name for a project', coalesce(left(project, 100), 'null')),
      'Use lower case letters, digits and underscores, with dots between the parts, such as analytics.dropout.');
  end if;
  if task is null or task not in ('regression', 'classification', 'recommendation') then
    perform common.refuse('CF001', format('there is no task "%s"', coalesce(left(task, 100), 'null')),
      'Choose regression, classification or recommendation.');
  end if;
  if algorithm is null or btrim(algorithm) = '' or length(algorithm) > 200 then
    perform common.refuse('CF001', 'the algorithm has no name', 'Say by what method the model was made, such as gbm.');
  end if;
  v_metric := coalesce(metric, case task
    when 'classification' then case when document ? 'classes' then 'log_loss' else 'area_under_roc' end
    when 'recommendation' then 'ndcg_at_10'
    else 'root_mean_squared_error'
  end);
  v_higher := case v_metric
    when 'ndcg_at_10' then true when 'recall_at_10' then true
    when 'area_under_roc' then true when 'average_precision' then true when 'r2_score' then true
    when 'accuracy' then true when 'macro_f1' then true
    when 'log_loss' then false when 'brier_score' then false when 'calibration_error' then false
    when 'root_mean_squared_error' then false when 'mean_abs_error' then false
  end;
  if v_higher is null then
    perform common.refuse(
      'CF001',
      format('there is no metric "%s"', left(v_metric, 100)),
      'Choose area_under_roc, average_precision, log_loss, brier_score or calibration_error; for several classes '
        || 'log_loss, accuracy or macro_f1; for a regression '
        || 'root_mean_squared_error, mean_abs_error or r2_score; for a recommendation ndcg_at_10 or recall_at_10.'
    );
  end if;
  if v_metric <> 'log_loss' and (document ? 'classes') <> (v_metric in ('accuracy', 'macro_f1')) then
    perform common.refuse('CF001',
      format('the metric %s is not one of a model %s', v_metric,
        case when document ? 'classes' then 'of several classes' else 'with one answer' end),
      'Several classes are measured by log_loss, accuracy or macro_f1, one answer by the other metrics.');
  end if;
  if task <> 'recommendation' then
    perform ml._check_document(document);
  elsif document is not null then
    perform common.refuse('CF009', 'a recommender has no document',
      'Give null, and keep the model in a table of its own by its model_id.');
  end if;

  insert into ml.project (name, task, metric, higher_is_better, description)
  values (register_model.project, register_model.task, v_metric, v_higher, register_model.description)
  on conflict (name) do nothing;
  -- One version after the other.
  select * into v_project from ml.project where project.name = register_model.project for update;
  if v_project.task <> task then
    perform common.refuse(
      'CF010',
      format('project "%s" is a %s, not a %s', left(project, 100), v_project.task, left(task, 100)),
      'Give the model a project of its own.'
    );
  elsif metric is not null and v_project.metric <> metric then
    perform common.refuse(
      'CF010',
      format('project "%s" is judged by %s, not by %s', left(project, 100), v_project.metric, left(metric, 100)),
      'Leave the metric out, or give the model a project of its own.'
    );
  elsif exists (
    select from ml.model as version
    where version.project_id = v_project.project_id and version.coefficients ? 'kind'
      and (version.coefficients ? 'classes') <> (document ? 'classes')
  ) then
    perform common.refuse(
      'CF010',
      format('the versions of project "%s" answer with %s', left(project, 100),
        case when document ? 'classes' then 'one number' else 'a probability for each class' end),
      'Give the model a project of its own.'
    );
  end if;

  if document ->> 'kind' = 'ensemble' then
    perform ml._check_ensemble(v_project.project_id, document);
  end if;

  insert into ml.model (project_id, version, algorithm, parameters, metrics, coefficients, seed, data_watermark,
    row_count, duration)
  values (
    v_project.project_id,
    (select coalesce(max(model.version), 0) + 1 from ml.model where model.project_id = v_project.project_id),
    algorithm, coalesce(parameters, '{}'), coalesce(metrics, '{}'),
    document - 'nodes' - 'embeddings' - 'scores', seed, data_watermark, row_count, duration
  )
  returning model_id, version into v_model_id, v_version;

  case document ->> 'kind'
    when 'trees' then
      begin
        insert into ml.tree_node (model_id, tree, node, parent, feature, threshold, categories, missing_left,
          left_node, right_node, value, gain, cover, class_values)
        select v_model_id, node.tree, node.node, node.parent, node.feature, node.threshold, node.categories,
          node.missing_left, node.left_node, node.right_node, node.value, node.gain, coalesce(node.cover, 0),
          node.class_values
        from jsonb_to_recordset(document -> 'nodes') as node (
          tree int, node int, parent int, feature text, threshold float8, categories text[], missing_left boolean,
            left_node int, right_node int, value float8, gain float8, cover float8, class_values float8[]
        );
      exception when check_violation or not_null_violation or unique_violation or invalid_text_representation
        or numeric_value_out_of_range then
        perform common.refuse(
          'CF009',
          format('a node of the trees is not sound: %s', left(sqlerrm, 100)),
          'Every node has tree, node and, but for the root, parent; a leaf has value or class_values, any other node '
            || 'feature, threshold or categories, missing_left, left_node and right_node.'
        );
      end;
      select format('tree %s, node %s', node.tree, node.node)
      into v_wrong
      from ml.tree_node as node
      where node.model_id = v_model_id
        and (
          (node.feature is not null
            and not document -> 'features' @> jsonb_build_array(jsonb_build_object('name', node.feature)))
          or (node.node > 0 and not exists (
            select
            from ml.tree_node as parent
            where parent.model_id = v_model_id and parent.tree = node.tree and parent.node = node.parent
              and node.node in (parent.left_node, parent.right_node)
          ))
          or (node.feature is not null and 2 <> (
            select count(*)
            from ml.tree_node as child
            where child.model_id = v_model_id and child.tree = node.tree
              and child.node in (node.left_node, node.right_node) and child.parent = node.node
          ))
        )
      order by node.tree, node.node
      limit 1;
      v_wrong := coalesce(v_wrong, (
        select format('tree %s, which belongs to no class', node.tree) from ml.tree_node as node
        where node.model_id = v_model_id and node.tree > jsonb_array_length(document -> 'tree_classes')
        order by node.tree limit 1
      ), (
        select format('tree %s, which has no root', node.tree) from ml.tree_node as node
        where node.model_id = v_model_id group by node.tree having min(node.node) > 0 limit 1
      ), (
        -- Within what a sum can hold.
        select format('tree %s, node %s, whose value is not a number up to 1e100', node.tree, node.node)
        from ml.tree_node as node
        where node.model_id = v_model_id
          and not (coalesce(abs(node.value), 0) <= 1e100 and 1e100 >= all (
            select abs(value) from unnest(node.class_values) as value where value is not null
          ))
        order by node.tree, node.node limit 1
      ), (
        -- A tree is of one class, by tree_classes, or has values for all.
        select format('tree %s, node %s, whose values are not those of its classes', node.tree, node.node)
        from ml.tree_node as node
        where node.model_id = v_model_id and node.feature is null
          and case when document ? 'classes' and not document ? 'tree_classes'
            then coalesce(
              array_ndims(node.class_values) <> 1 or array_position(node.class_values, null) is not null
                or cardinality(node.class_values) <> jsonb_array_length(document -> 'classes'),
              true
            )
            else node.value is null end
        order by node.tree, node.node limit 1
      ));
      if v_wrong is not null then
        perform common.refuse('CF009', format('the trees do not hang together at %s', left(v_wrong, 100)),
          'Node 0 is the root, every other node is child of one node of a lower number, and all features are listed.');
      end if;
    when 'embeddings' then
      begin
        insert into ml.embedding (model_id, side, key, embedding)
        select v_model_id, listed.side, listed.key, (listed.embedding #>> '{}')::vector
        from jsonb_to_recordset(document -> 'embeddings') as listed (side smallint, key text, embedding jsonb);
      exception
        when check_violation or not_null_violation or invalid_text_representation or data_exception
          or program_limit_exceeded then
          perform common.refuse('CF009', format('an embedding is not sound: %s', left(sqlerrm, 100)),
            'An embedding has side, key and embedding, a list of numbers.');
        when unique_violation then
          perform common.refuse('CF009', 'an embedding is listed twice', 'Keys are unique on each side.');
      end;
      select format('vectors of %s and of %s numbers', min(vector_dims(embedding)), max(vector_dims(embedding)))
      into v_wrong
      from ml.embedding
      where model_id = v_model_id
      having min(vector_dims(embedding)) <> max(vector_dims(embedding));
      if v_wrong is not null then
        perform common.refuse('CF009', v_wrong, 'All vectors of a model have the same length.');
      end if;
    when 'scores' then
      begin
        insert into ml.score (model_id, keys, score)
        select v_model_id, array(select jsonb_array_elements_text(listed.keys)), listed.score
        from jsonb_to_recordset(document -> 'scores') as listed (keys jsonb, score float8);
      exception
        when not_null_violation or invalid_text_representation or invalid_parameter_value then
          perform common.refuse('CF009', format('a score is not sound: %s', left(sqlerrm, 100)),
            'A score has keys, a list of strings, and score, a number.');
        when unique_violation then
          perform common.refuse('CF009', 'a key has two scores', 'Keys are unique.');
      end;
      if exists (select from ml.score
        where model_id = v_model_id and cardinality(keys) <> jsonb_array_length(document -> 'features')) then
        perform common.refuse('CF009', 'a score has another number of keys than the model',
          'Give one value for each of the features.');
      end if;
    else
      null;
  end case;
  return v_version;
end;
$$;

comment on function ml.register_model(
  text, text, text, jsonb, jsonb, jsonb, text, bigint, timestamptz, bigint, interval, text
) is $$
Adds a version to a project, creates the project if necessary, and returns the number of the version.
Does not deploy the version.
`document` is the model itself, in the form that src/sql/ml/README.md describes (kinds linear, trees, embeddings,
scores, ensemble); ml.train, ml.import_model and ml.register_ensemble write it for you.
`task` is regression, classification or recommendation;
`metric` judges the versions of a new project.
A recommender has no document: it is in tables of the room that serves it.
Errors: CF001 (name, task, metric), CF009 (the document), CF010 (the project has another task or metric).
$$;

grant execute on function ml._is_calibration(text, jsonb), ml._check_document(jsonb) to insights_admin, insights_worker;
grant execute on function ml.register_model(text, text, text, jsonb, jsonb, jsonb, text, bigint, timestamptz, bigint,
  interval, text)
  to insights_admin, insights_worker;
