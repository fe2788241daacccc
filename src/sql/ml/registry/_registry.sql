/*
 * A registered model is a document (`ml.model.coefficients`) and, where it is large, rows of ml.tree_node, ml.embedding or
 * ml.score. The document says of what kind it is, what it needs and how a raw score becomes an answer:
 *
 *   {"kind": "linear" | "trees" | "embeddings" | "scores",
 *    "link": "identity" | "logit" | "log",
 *    "features": [{"name": "tax", "type": "number", "coefficient": 0.2, "mean": 590},
 *                 {"name": "country", "type": "category", "categories": ["at", "de"], "coefficients": [0.1, 0.3]}],
 *    "intercept": 1.5,
 *    "calibration": {"method": "platt", "slope": 0.9, "intercept": 0.1}}
 *
 * All that predicts is SQL generated from it: names are looked up, numbers cast, texts quoted, and nothing else enters.
 */
create or replace function ml._project(name text)
returns ml.project
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_project ml.project;
begin
  select * into v_project from ml.project where project.name = _project.name;
  if v_project.project_id is null then
    perform common.refuse(
      'CF002',
      format('there is no project "%s"', coalesce(left(name, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(name, (select array_agg(project.name) from ml.project)) || '"?',
        'Train or import a model first: ml.train, ml.import_model.'
      )
    );
  end if;
  return v_project;
end;
$$;

comment on function ml._project(text) is $$The project of a name. Error CF002 names the nearest.$$;

create or replace function ml._deployed_model_id(project_id int)
returns bigint
language sql
stable
parallel safe
begin atomic
  select deployment.model_id
  from ml.deployment
  where deployment.project_id = _deployed_model_id.project_id
  order by deployment.deployment_id desc
  limit 1;
end;

comment on function ml._deployed_model_id(int) is $$The version of a project that is in force, null when there is none.$$;

create or replace function ml._version(project text, version int default null)
returns ml.model
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_project ml.project := ml._project(project);
  v_model ml.model;
begin
  select *
  into v_model
  from ml.model
  where model.project_id = v_project.project_id
    and case when _version.version is null then model.model_id = ml._deployed_model_id(v_project.project_id) else model.version = _version.version end;
  if v_model.model_id is null and version is null then
    perform common.refuse('CF006', format('no version of "%s" is in force', left(project, 100)),
      'Train or import one, or deploy one with ml.deploy.');
  elsif v_model.model_id is null then
    perform common.refuse(
      'CF002',
      format('"%s" has no version %s', left(project, 100), version),
      coalesce(
        (select format('Its versions are %s to %s.', min(model.version), max(model.version)) from ml.model where model.project_id = v_project.project_id having count(*) > 0),
        'It has none yet.'
      )
    );
  end if;
  return v_model;
end;
$$;

comment on function ml._version(text, int) is $$
A version of a project, the one in force where none is named. Errors: CF002 (no such project or version), CF006 (none in force).
$$;

create or replace function ml._document(model ml.model)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if coalesce(model.coefficients ->> 'kind', '') not in ('linear', 'trees', 'embeddings', 'scores') then
    perform common.refuse(
      'CF001',
      format('version %s is a model of its own kind (%s) that answers elsewhere', model.version, model.algorithm),
      'ml.predict serves what ml.train, ml.register_model or ml.import_model made.'
    );
  end if;
  return model.coefficients;
end;
$$;

comment on function ml._document(ml.model) is $$The document of a version that ml.predict can serve. Error CF001 for recommenders and the like, which are served by their own functions.$$;

/* -------------------------------------------------------------------------------------------------- answering -- */

create or replace function ml._interpolate(score float8, scores float8[], answers float8[])
returns float8
language sql
immutable
parallel safe
begin atomic
  select case
    when score is null then null
    when place = 0 then answers[1]
    when place = cardinality(scores) then answers[place]
    else answers[place] + (answers[place + 1] - answers[place]) * (score - scores[place]) / (scores[place + 1] - scores[place])
  end
  from width_bucket(score, scores) as place;
end;

comment on function ml._interpolate(float8, float8[], float8[]) is $$
The value at a score of the line through points in ascending order of `scores`, constant beyond both ends.
$$;

create or replace function ml._single_precision(value float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select case
    when abs(value) < 1.2e-38 then 0
    when abs(value) > 3.4e38 and abs(value) < 'Infinity' then sign(value) * 3.4e38
    else value::float4::float8
  end;
end;

comment on function ml._single_precision(float8) is $$A number as libraries see it that keep their features in four bytes, such as XGBoost.$$;

create or replace function ml._similarity(a vector, b vector, similarity text)
returns float8
language sql
immutable
parallel safe
begin atomic
  select case when similarity = 'cosine' then 1 - (a <=> b) else -(a <#> b) end;
end;

comment on function ml._similarity(vector, vector, text) is $$Likeness of two vectors: `cosine`, or else their inner product.$$;

create or replace function ml._answer_expression(document jsonb, score text)
returns text
language sql
immutable
parallel safe
begin atomic
  select case
    when document #>> '{calibration,method}' = 'isotonic' then format(
      'ml._interpolate(%s, %L::float8[], %L::float8[])', score,
      array(select value::float8 from jsonb_array_elements_text(document #> '{calibration,scores}') as value),
      array(select value::float8 from jsonb_array_elements_text(document #> '{calibration,answers}') as value)
    )
    else format(
      -- greatest() and least() ignore a null: a key without an embedding or a score has no answer, whatever the link.
      case when document ->> 'kind' in ('embeddings', 'scores') then 'case when %1$s is not null then %2$s end' else '%2$s' end,
      calibrated.score,
      case document ->> 'link'
        when 'logit' then format('1 / (1 + exp(-least(greatest(%s, -700), 700)))', calibrated.score)
        when 'log' then format('exp(least(greatest(%s, -700), 700))', calibrated.score)
        else calibrated.score
      end
    )
  end
  from (
    select case
      when document #>> '{calibration,method}' = 'platt' then format(
        '(%L::float8 * %s + %L::float8)', (document #>> '{calibration,slope}')::float8, _answer_expression.score, (document #>> '{calibration,intercept}')::float8
      )
      else _answer_expression.score
    end as score
  ) as calibrated;
end;

comment on function ml._answer_expression(jsonb, text) is $$
SQL that makes the answer of a model from the SQL of its raw score: calibration, then the inverse of the link.
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
          else format(' + %L::float8 * coalesce(x%s, %L::float8)', (feature ->> 'coefficient')::float8, position, (feature ->> 'mean')::float8)
        end, '' order by position
      ), '')
      into v_score
      from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position);
    when 'trees' then
      for v_tree in select distinct node.tree from ml.tree_node as node where node.model_id = model.model_id order by node.tree loop
        v_trees := v_trees || ml._tree_expression(
          format('(select * from ml.tree_node where model_id = %s) as registered', model.model_id),
          v_tree,
          (select jsonb_object_agg(feature ->> 'name', position) from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position)),
          (select jsonb_object_agg(feature ->> 'name', feature -> 'categories') from jsonb_array_elements(v_document -> 'features') as feature),
          'format(''%L::float8'', value)'
        );
      end loop;
      -- A sum of sums, so that thousands of trees do not nest too deep for the parser.
      v_size := greatest(1, ceil(sqrt(cardinality(v_trees)))::int);
      select format('%L::float8', (v_document ->> 'intercept')::float8) || coalesce(string_agg(' + (' || part || ')', '' order by place), '')
      into v_score
      from (
        select (position - 1) / v_size as place, string_agg(tree, ' + ' order by position) as part
        from unnest(v_trees) with ordinality as grown (tree, position)
        group by (position - 1) / v_size
      ) as chunk;
    when 'embeddings' then
      v_score := format(
        '(select ml._similarity(one.embedding, other.embedding, %L) from ml.embedding as one, ml.embedding as other
          where one.model_id = %2$s and one.side = 1 and one.key = x1 and other.model_id = %2$s and other.side = %3$s and other.key = x2)',
        v_document ->> 'similarity', model.model_id, (v_document ->> 'sides')::int
      );
    when 'scores' then
      v_score := format(
        'coalesce((select listed.score from ml.score as listed where listed.model_id = %s and listed.keys = array[%s]), %L::float8)',
        model.model_id,
        (select string_agg('x' || position, ', ' order by position) from generate_series(1, jsonb_array_length(v_document -> 'features')) as position),
        (v_document ->> 'default')::float8
      );
  end case;
  return '(' || v_score || ')';
end;
$$;

comment on function ml._score_expression(ml.model) is $$
The raw score of a model as one SQL expression over its features x1, x2, … (see ml._feature_list).
$$;

create or replace function ml._feature_list(document jsonb, relation regclass)
returns text
language plpgsql
stable
as $$
declare
  v_feature record;
  v_name text;
  v_list text[] := '{}';
begin
  for v_feature in
    select feature ->> 'name' as name, feature ->> 'type' as type, position
    from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position)
    order by position
  loop
    v_name := common.column_name(relation, v_feature.name, 'feature');
    v_list := v_list || case
      when v_feature.type = 'category' then format('(%s)::text as x%s', v_name, v_feature.position)
      when (document -> 'single_precision')::boolean then format('nullif(ml._single_precision(%s), ''NaN'') as x%s', common.numeric_expression(v_name, relation, 'feature'), v_feature.position)
      else format('nullif(%s, ''NaN'') as x%s', common.numeric_expression(v_name, relation, 'feature'), v_feature.position)
    end;
  end loop;
  return array_to_string(v_list, ', ');
end;
$$;

comment on function ml._feature_list(jsonb, regclass) is $$
The select list that gives a model's features as x1, x2, … from a relation that has columns of their names.
Errors: CF001 (not a number), CF002 (no such column; names the nearest).
$$;

create or replace function ml._feature_values(document jsonb, features jsonb)
returns table (name text, place int, type text, value text)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_feature jsonb;
  v_given jsonb;
begin
  if features is null or jsonb_typeof(features) <> 'object' then
    perform common.refuse('CF001', format('the features are %s', coalesce('a JSON ' || jsonb_typeof(features), 'null')),
      'Give an object of names and values, such as {"tax": 590, "bath": null}.');
  end if;
  place := 0;
  for v_feature in select listed.feature from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position) order by position loop
    name := v_feature ->> 'name';
    place := place + 1;
    type := v_feature ->> 'type';
    v_given := features -> name;
    if v_given is null then
      perform common.refuse(
        'CF001',
        format('the feature "%s" is not given', left(name, 100)),
        format(
          'Give a value, or null where it is unknown. %s',
          coalesce(
            'Is it "'
              || common.nearest_name(
                name,
                array(
                  select jsonb_object_keys(features) except select listed.feature ->> 'name' from jsonb_array_elements(document -> 'features') as listed (feature)
                )
              )
              || '"?',
            ''
          )
        )
      );
    end if;
    case
      when jsonb_typeof(v_given) in ('object', 'array') or (jsonb_typeof(v_given) = 'string' and type = 'number') then
        perform common.refuse(
          'CF001',
          format('the feature "%s" is %s, a %s is due', left(name, 100), left(v_given::text, 100), left(type, 100)),
          'Give a JSON number, true or false for a number; a string for a category; null where it is unknown.'
        );
      when type = 'number' and jsonb_typeof(v_given) = 'boolean' then
        value := v_given::boolean::int::text;
      when type = 'number' and jsonb_typeof(v_given) = 'number' then
        begin
          value := (v_given #>> '{}')::float8;
        exception when numeric_value_out_of_range then
          perform common.refuse(
            'CF001',
            format('the feature "%s" is %s, which no double can hold', left(name, 100), left(v_given::text, 40)),
            'Give a number between 1e-307 and 1e308.'
          );
        end;
        if (document -> 'single_precision')::boolean then
          value := ml._single_precision(value::float8);
        end if;
      else
        value := v_given #>> '{}';
    end case;
    return next;
  end loop;
end;
$$;

comment on function ml._feature_values(jsonb, jsonb) is $$
The features of a model as given in an object, in the model's order. Keys that the model does not know are not looked at.
Error CF001: one is not given (null says that it is unknown), not a number where one is due.
$$;

create or replace function ml._tree_score(model_id bigint, document jsonb, inputs jsonb)
returns float8
language sql
stable
parallel safe
begin atomic
  with recursive walk as (
    select node.*
    from ml.tree_node as node
    where node.model_id = _tree_score.model_id
      and node.node = 0

    union all

    select node.*
    from walk
    cross join lateral (
      select
        case
          when inputs -> walk.feature is null or inputs -> walk.feature = 'null' then walk.missing_left
          when walk.categories is not null then inputs ->> walk.feature = any (walk.categories)
          else walk.threshold = 'Infinity' or (inputs ->> walk.feature)::float8 < walk.threshold
        end as goes_left
    ) as decided
    join ml.tree_node as node
      on node.model_id = _tree_score.model_id
      and node.tree = walk.tree
      and node.node = case when decided.goes_left then walk.left_node else walk.right_node end
    where walk.feature is not null
  )

  select (document ->> 'intercept')::float8 + coalesce(sum(walk.value), 0)
  from walk
  where walk.feature is null;
end;

comment on function ml._tree_score(bigint, jsonb, jsonb) is $$
The raw score of a tree model for one row: all its trees are walked at once, by key. Batches use ml._score_expression.
$$;

create or replace function ml._score(model ml.model, features jsonb)
returns float8
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._document(model);
  v_inputs jsonb;
  v_list text;
  v_score float8;
begin
  if v_document ->> 'kind' = 'trees' then
    select jsonb_object_agg(
      input.name,
      -- A category that the training never saw counts as missing.
      case when input.type = 'category' and not listed.feature -> 'categories' ? coalesce(input.value, '') then null else input.value end
    )
    into v_inputs
    from ml._feature_values(v_document, features) as input
    join jsonb_array_elements(v_document -> 'features') as listed (feature) on listed.feature ->> 'name' = input.name;
    return ml._tree_score(model.model_id, v_document, coalesce(v_inputs, '{}'));
  end if;
  select string_agg(format('%L::%s as x%s', input.value, case when input.type = 'category' then 'text' else 'float8' end, input.place), ', ' order by input.place)
  into v_list
  from ml._feature_values(v_document, features) as input;
  execute format('select %s from (select %s) as input', ml._score_expression(model), coalesce(v_list, '1 as one')) into v_score;
  return v_score;
end;
$$;

comment on function ml._score(ml.model, jsonb) is $$The raw score of a model for one object of features: log odds, the logarithm or the value itself, before calibration.$$;

create or replace function ml._predict(model ml.model, features jsonb)
returns float8
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_answer float8;
begin
  execute format('select %s', ml._answer_expression(model.coefficients, '$1')) into v_answer using ml._score(model, features);
  return v_answer;
end;
$$;

comment on function ml._predict(ml.model, jsonb) is $$The answer of a model for one object of features.$$;

create or replace function ml._predict_into(
  model ml.model,
  relation regclass,
  output text,
  expression text,
  name text,
  kept text default 'true'
)
returns bigint
language plpgsql
set jit to off
as $$
declare
  v_document constant jsonb := ml._document(model);
  v_rows bigint;
begin
  execute format(
    'create table %s as select _kept as %s, %s as prediction from (select %s from %s where %s offset 0) as input',
    output, name, ml._answer_expression(v_document, ml._score_expression(model)),
    concat_ws(', ', expression || ' as _kept', nullif(ml._feature_list(v_document, relation), '')), relation, kept
  );
  get diagnostics v_rows = row_count;
  return v_rows;
end;
$$;

comment on function ml._predict_into(ml.model, regclass, text, text, text, text) is $$
Writes a table of an expression over a relation, under a name, and `prediction`, for the rows that are `kept`, in one statement; returns how many.
All texts are SQL that the caller has checked.
$$;

grant execute on function
  ml._project(text), ml._deployed_model_id(int), ml._version(text, int), ml._document(ml.model), ml._interpolate(float8, float8[], float8[]),
  ml._single_precision(float8), ml._similarity(vector, vector, text), ml._answer_expression(jsonb, text), ml._score_expression(ml.model),
  ml._feature_values(jsonb, jsonb), ml._tree_score(bigint, jsonb, jsonb), ml._score(ml.model, jsonb), ml._predict(ml.model, jsonb)
to insights_reader, insights_analyst, insights_admin, insights_worker;

grant execute on function ml._feature_list(jsonb, regclass), ml._predict_into(ml.model, regclass, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;

-- Errors name what is near, for whoever asks.
grant execute on function common.nearest_name(text, text[]) to insights_reader;
