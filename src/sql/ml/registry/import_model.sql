create or replace function ml._import_linear(document jsonb, link text)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_wrong text;
begin
  if coalesce(jsonb_typeof(document -> 'coefficients'), '') <> 'object' then
    perform common.refuse('CF009', 'the document has no object "coefficients"',
      'Give {"intercept": 1, "coefficients": {"tax": 0.2, "country": {"at": 0.1, "de": 0.3}}}.');
  elsif document ? 'intercept' and jsonb_typeof(document -> 'intercept') <> 'number' then
    perform common.refuse('CF009', format('the intercept is %s', left((document -> 'intercept')::text, 100)),
      'Give a number; without it the intercept is 0.');
  elsif document ? 'means' and jsonb_typeof(document -> 'means') <> 'object' then
    perform common.refuse('CF009', format('the means are %s', left((document -> 'means')::text, 100)),
      'Give an object of names and numbers; what is missing counts as the mean.');
  end if;
  select format('"%s" is %s', coefficient.name, coefficient.value)
  into v_wrong
  from jsonb_each(document -> 'coefficients') as coefficient (name, value)
  where jsonb_typeof(coefficient.value) not in ('number', 'object')
    or (jsonb_typeof(coefficient.value) = 'object'
      and exists (select from jsonb_each(coefficient.value) as category (name, value)
        where jsonb_typeof(category.value) <> 'number'))
  limit 1;
  v_wrong := coalesce(v_wrong, (
    select format('the mean of "%s" is %s', mean.name, mean.value)
    from jsonb_each(coalesce(document -> 'means', '{}')) as mean (name, value)
    where jsonb_typeof(mean.value) <> 'number' or jsonb_typeof(document -> 'coefficients' -> mean.name) is distinct
      from 'number'
    limit 1
  ));
  if v_wrong is not null then
    perform common.refuse('CF009', left(v_wrong, 300),
      'A number has one coefficient and may have a mean, a category an object of coefficients.');
  end if;
  return jsonb_build_object(
    'kind', 'linear', 'link', link, 'intercept', coalesce(document -> 'intercept', '0'),
    'features', (
      select coalesce(jsonb_agg(
        case when jsonb_typeof(coefficient.value) = 'number' then jsonb_build_object(
          'name', coefficient.name, 'type', 'number', 'coefficient', coefficient.value, 'mean',
          coalesce(document -> 'means' -> coefficient.name, '0')
        )
        else jsonb_build_object(
          'name', coefficient.name, 'type', 'category',
          'categories', (select coalesce(jsonb_agg(category.name order by category.name), '[]')
            from jsonb_each(coefficient.value) as category (name, value)),
          'coefficients', (select coalesce(jsonb_agg(category.value order by category.name), '[]')
            from jsonb_each(coefficient.value) as category (name, value))
        ) end
        order by coefficient.name
      ), '[]')
      from jsonb_each(document -> 'coefficients') as coefficient (name, value)
    )
  );
end;
$$;

comment on function ml._import_linear(jsonb, text) is $$
A model document of coefficients by name: {"intercept", "coefficients", "means"}. Error CF009.
$$;

create or replace function ml._import_multinomial(document jsonb)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_classes text[];
  v_names text[];
  v_outputs jsonb[];
  v_other text;
begin
  if jsonb_typeof(document -> 'classes') <> 'object'
    or exists (select from jsonb_each(document -> 'classes') as class (name, value)
      where jsonb_typeof(value) <> 'object') then
    perform common.refuse('CF009', 'the classes are not an object of models',
      'Give {"classes": {"low": {"intercept": 1, "coefficients": {"tax": 0.2}}, "high": {…}}, "means": {"tax": 590}}.');
  end if;
  select array_agg(name order by name), array_agg(
    ml._import_linear(value || jsonb_strip_nulls(jsonb_build_object('means', document -> 'means')), 'identity')
    order by name
  )
  into v_classes, v_outputs
  from jsonb_each(document -> 'classes') as class (name, value);
  select class.name
  into v_other
  from unnest(v_classes, v_outputs) as class (name, output)
  where (select jsonb_agg(jsonb_build_array(feature -> 'name', feature -> 'type') order by feature ->> 'name')
      from jsonb_array_elements(class.output -> 'features') as feature)
    is distinct from
    (select jsonb_agg(jsonb_build_array(feature -> 'name', feature -> 'type') order by feature ->> 'name')
      from jsonb_array_elements(v_outputs[1] -> 'features') as feature)
  limit 1;
  if v_other is not null then
    perform common.refuse('CF009', format('the class "%s" has other coefficients than the first', left(v_other, 100)),
      'Give a coefficient for each feature in each class, 0 where it has no effect.');
  end if;
  return jsonb_build_object(
    'kind', 'linear', 'link', 'softmax', 'classes', v_classes, 'outputs', to_jsonb(v_outputs),
    'features', (
      select coalesce(jsonb_agg(jsonb_build_object('name', feature -> 'name', 'type', feature -> 'type')
        order by position), '[]')
      from jsonb_array_elements(v_outputs[1] -> 'features') with ordinality as listed (feature, position)
    )
  );
end;
$$;

comment on function ml._import_multinomial(jsonb) is $$
A model document of coefficients by name for each class: {"classes": {"low": {"intercept", "coefficients"}}, "means"}.
Error CF009.
$$;

create or replace function ml._import_keyed(document jsonb, format text)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_keys text[];
  v_sides int;
  v_wrong text;
begin
  if jsonb_typeof(document) <> 'object' or jsonb_typeof(document -> 'keys') is distinct from 'array'
    or exists (select from jsonb_array_elements(document -> 'keys') as key where jsonb_typeof(key) <> 'string') then
    perform common.refuse('CF009', 'the document has no list of keys',
      'Name the features that a thing is looked up by: {"keys": ["person", "item"], …}.');
  end if;
  v_keys := array(select key
    from jsonb_array_elements_text(document -> 'keys') with ordinality as listed (key, position) order by position);
  if format = 'scores' then
    if jsonb_typeof(document -> 'scores') is distinct from 'array' then
      perform common.refuse('CF009', 'the document has no list of scores',
        'Give {"keys": ["item"], "scores": [{"item": "sql", "score": 0.7}], "default": 0}.');
    end if;
    select left(format('score %s: %s', position, entry), 300)
    into v_wrong
    from jsonb_array_elements(document -> 'scores') with ordinality as listed (entry, position)
    where jsonb_typeof(entry) <> 'object'
      or jsonb_typeof(entry -> 'score') is distinct from 'number'
      or exists (select from unnest(v_keys) as key
        where coalesce(jsonb_typeof(entry -> key), 'null') in ('null', 'object', 'array'))
    limit 1;
    if v_wrong is not null or jsonb_typeof(coalesce(document -> 'default', '0')) not in ('number', 'null') then
      perform common.refuse('CF009', coalesce(v_wrong, format('the default is %s', document -> 'default')),
        'Each score is an object with a value for every key and a number "score".');
    end if;
    return jsonb_build_object(
      'kind', 'scores', 'link', coalesce(document ->> 'link', 'identity'),
      'features', (select jsonb_agg(jsonb_build_object('name', key, 'type', 'category') order by position)
        from unnest(v_keys) with ordinality as listed (key, position)),
      'scores', (
        select coalesce(
          jsonb_agg(
            jsonb_build_object('keys', (select jsonb_agg(entry ->> key order by position)
                from unnest(v_keys) with ordinality as listed (key, position)), 'score', entry -> 'score')), '[]')
        from jsonb_array_elements(document -> 'scores') as entry
      )
    ) || case
      when jsonb_typeof(document -> 'default') = 'number' then jsonb_build_object('default', document -> 'default')
        else '{}' end;
  end if;

  select count(*) into v_sides
  from jsonb_object_keys(case when jsonb_typeof(document -> 'embeddings') = 'object' then document -> 'embeddings'
    else '{}' end) as side (name) where side.name = any (v_keys);
  v_wrong := case
    when cardinality(v_keys) <> 2 then format('%s keys', cardinality(v_keys))
    when jsonb_typeof(document -> 'embeddings') is distinct from 'object' then 'no object "embeddings"'
    when v_sides = 0 or not document -> 'embeddings' ? v_keys[1] then format('no embeddings of "%s"', v_keys[1])
    when exists (select from jsonb_each(document -> 'embeddings') as side (name, value)
      where not side.name = any (v_keys) or jsonb_typeof(side.value) <> 'object')
        then 'embeddings that belong to no key'
    when coalesce(document ->> 'similarity', 'inner_product') not in ('inner_product', 'cosine')
      then format('similarity "%s"', document ->> 'similarity')
  end;
  if v_wrong is not null then
    perform common.refuse(
      'CF009',
      format('the document has %s', left(v_wrong, 100)),
      'Give two keys and vectors for both, {"keys": ["person", "item"], "embeddings": {"person": {"ada": [0.1, '
        || '0.2]}, "item": {"sql": [0.3, 0.4]}}}; things of one kind are listed under the first key alone.'
    );
  end if;
  return jsonb_build_object(
    'kind', 'embeddings', 'link', coalesce(document ->> 'link', 'identity'), 'sides', v_sides, 'similarity',
    coalesce(document ->> 'similarity', 'inner_product'),
    'features', (select jsonb_agg(jsonb_build_object('name', key, 'type', 'category') order by position)
      from unnest(v_keys) with ordinality as listed (key, position)),
    'embeddings', (
      select coalesce(
        jsonb_agg(jsonb_build_object('side', array_position(v_keys, side.name), 'key', entry.key, 'embedding',
            entry.embedding)), '[]')
      from jsonb_each(document -> 'embeddings') as side (name, value)
      cross join lateral jsonb_each(side.value) as entry (key, embedding)
    )
  );
end;
$$;

comment on function ml._import_keyed(jsonb, text) is $$
A model document of embeddings or scores, looked up by keys. Error CF009.
$$;

create or replace function ml.import_model(
  project text,
  task text,
  format text,
  document jsonb,
  algorithm text default null,
  metrics jsonb default '{}',
  metric text default null,
  data_watermark timestamptz default null,
  description text default null
)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_given jsonb := document;
  v_document jsonb;
  v_version int;
  v_model ml.model;
begin
  if format is null or format not in ('linear', 'logistic', 'xgboost', 'lightgbm', 'embeddings', 'scores') then
    perform common.refuse('CF001', pg_catalog.format('there is no format "%s"', coalesce(left(format, 100), 'null')),
      'Choose linear, logistic, xgboost, lightgbm, embeddings or scores.');
  end if;
  if format in ('xgboost', 'lightgbm') then
    v_given := ml._parsed_model(document);
  end if;
  if v_given is null or jsonb_typeof(v_given) not in ('object', 'array') then
    perform common.refuse(
      'CF009',
      pg_catalog.format('the document is %s', coalesce('a JSON ' || jsonb_typeof(v_given), 'null')),
      'src/sql/ml/registry/README.md shows the form of each format.'
    );
  elsif jsonb_typeof(v_given) = 'array' and format <> 'xgboost' then
    perform common.refuse('CF009', 'the document is a list',
      'Give an object; only the trees of xgboost may be a bare list.');
  end if;
  v_document := case
    when format = 'linear' then ml._import_linear(v_given, 'identity')
    when format = 'logistic' and v_given ? 'classes' then ml._import_multinomial(v_given)
    when format = 'logistic' then ml._import_linear(v_given, 'logit')
    when format = 'xgboost' and v_given ? 'learner' then ml._import_xgboost_model(jsonb_build_object('model', v_given))
    when format = 'xgboost' and v_given ? 'model' then ml._import_xgboost_model(v_given)
    when format = 'xgboost' then ml._import_xgboost(v_given)
    when format = 'lightgbm' and v_given ? 'model' then ml._import_lightgbm(v_given)
    when format = 'lightgbm' then ml._import_lightgbm(jsonb_build_object('model', v_given))
    else ml._import_keyed(v_given, format)
  end;
  v_version := ml.register_model(
    project, task, coalesce(algorithm, 'imported ' || format), v_document, metrics,
      jsonb_build_object('imported', format), metric, null, data_watermark, null, null, description
  );
  v_model := ml._version(project, v_version);
  if v_given ? 'expected' then
    perform ml._check_expected(v_model, v_given -> 'expected');
  end if;
  if ml._deployed_model_id(v_model.project_id) is null then
    perform ml._deploy(v_model.model_id, 'first');
  end if;
  return v_version;
end;
$$;

comment on function ml.import_model(text, text, text, jsonb, text, jsonb, text, timestamptz, text) is $$
Adds a model that was made elsewhere as a version of a project, and returns its number.
The first of a project is deployed; later ones by ml.challenge or ml.deploy.
`format`: `linear` and `logistic` take {"intercept": 1, "coefficients": {"tax": 0.2, "country": {"at": 0.1}}, "means":
{"tax": 590}}, and `logistic` for several classes {"classes": {"low": {"intercept": 1, "coefficients": {…}}, "high":
{…}}, "means": {"tax": 590}};
`xgboost` takes what save_model writes as JSON, as text or parsed, also as {"model": that, "categories":
{…}, "iteration_range": [0, 50]}, or, with the base score that a dump lacks, what get_dump(dump_format="json") gives:
{"trees": …, "objective": "binary:logistic", "base_score": 0.5, "categories": {…}}; `lightgbm` takes what dump_model
gives; `embeddings` takes {"keys": ["person", "item"], "embeddings": {"person": {"ada": […]}, "item": {…}},
"similarity": "inner_product" or "cosine"}; `scores` takes {"keys": ["item"], "scores": [{"item": "sql", "score":
0.7}], "default": 0}. src/sql/ml/README.md shows each. Keys that name people are not erased with them: use others.
Models of several classes (multi:softprob of XGBoost, multiclass of LightGBM) may have "classes": ["low", "high", …],
their names in the order of the library; otherwise they are 0, 1, 2, ….
A document may have "expected": [{"features": {"tax": 590}, "prediction": 0.7}, …], answers of the library itself, for
several classes the list of their probabilities: the model is refused when it answers anything else.
`algorithm` is the method that made it, such as `scikit-learn LogisticRegression`. Errors: CF001 (format, name, task),
CF009 (the document; names the node), CF010.
$$;

grant execute on function
  ml._import_linear(jsonb, text), ml._import_multinomial(jsonb), ml._import_keyed(jsonb, text),
  ml.import_model(text, text, text, jsonb, text, jsonb, text, timestamptz, text)
to insights_admin, insights_worker;
