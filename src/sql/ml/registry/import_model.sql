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

create or replace function ml._import_xgboost(document jsonb)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_given constant jsonb := case when jsonb_typeof(document) = 'array' then jsonb_build_object('trees', document)
    else document end;
  v_objective constant text := coalesce(v_given ->> 'objective', 'reg:squarederror');
  v_link text;
  v_base float8;
  v_trees jsonb[];
  v_nodes jsonb;
  v_wrong text;
begin
  if jsonb_typeof(v_given -> 'trees') is distinct from 'array' or jsonb_array_length(v_given -> 'trees') = 0 then
    perform common.refuse(
      'CF009',
      'the document has no list of trees',
      'Give what get_dump(dump_format="json") gives, or {"trees": that, "objective": "binary:logistic", '
        || '"base_score": 0.5}.'
    );
  end if;
  v_link := case
    when v_objective in ('binary:logistic', 'reg:logistic') then 'logit'
    when v_objective in ('count:poisson', 'reg:gamma', 'reg:tweedie') then 'log'
    when v_objective
      in ('reg:squarederror', 'reg:linear', 'reg:pseudohubererror', 'reg:absoluteerror', 'binary:logitraw')
        or v_objective like 'rank:%' then 'identity'
  end;
  if v_link is null then
    perform common.refuse(
      'CF009',
      format('the objective "%s" is not known here', left(v_objective, 100)),
      'There are reg:squarederror, reg:absoluteerror, reg:pseudohubererror, reg:logistic, binary:logistic, '
        || 'binary:logitraw, count:poisson, reg:gamma, reg:tweedie and rank:….'
    );
  end if;
  begin
    -- XGBoost's default, in the unit of the answer.
    v_base := coalesce((v_given ->> 'base_score')::float4::float8, 0.5);
    v_base := case v_link when 'logit' then ln(v_base / (1 - v_base)) when 'log' then ln(v_base) else v_base end;
    -- get_dump gives a list of strings.
    v_trees := array(
      select case when jsonb_typeof(element) = 'string' then (element #>> '{}')::jsonb else element end
      from jsonb_array_elements(v_given -> 'trees') with ordinality as listed (element, position)
      order by position
    );
  exception when invalid_text_representation or division_by_zero or numeric_value_out_of_range
    or invalid_argument_for_logarithm then
    perform common.refuse(
      'CF009',
      format(
        'the trees or the base_score (%s) can not be read: %s',
        coalesce(left(v_given ->> 'base_score', 100), '0.5'),
        left(sqlerrm, 100)
      ),
      'A tree is a JSON object or its text; the base_score is a number, for a probability between 0 and 1.'
    );
  end;

  begin
    with recursive dumped as (
      select position::int as tree, element as node, null::int as parent, 0 as depth
      from unnest(v_trees) with ordinality as listed (element, position)

      union all

      select dumped.tree, child.node, case
        when dumped.node ->> 'nodeid' ~ '^\d{1,9}$' then (dumped.node ->> 'nodeid')::int end, dumped.depth + 1
      from dumped
      cross join lateral jsonb_array_elements(case
        when jsonb_typeof(dumped.node -> 'children') = 'array' then dumped.node -> 'children' else '[]' end)
          as child (node)
    ), checked as (
      select
        *,
        case
          when jsonb_typeof(node) <> 'object' or coalesce(node ->> 'nodeid', '') !~ '^\d{1,9}$' then 'has no nodeid'
          when count(*) over (partition by tree, node ->> 'nodeid') > 1 then 'occurs twice'
          when node ? 'leaf' and jsonb_typeof(node -> 'leaf') <> 'number' then 'has a leaf that is no number'
          when node ? 'leaf' then null
          when coalesce(jsonb_typeof(node -> 'split'), '') <> 'string' then 'has neither leaf nor split'
          when jsonb_typeof(node -> 'children') is distinct from 'array' or jsonb_array_length(node -> 'children') <> 2
            or not (node -> 'children' -> 0 -> 'nodeid' in (node -> 'yes', node -> 'no')
              and node -> 'children' -> 1 -> 'nodeid' in (node -> 'yes', node -> 'no')
                and node -> 'yes' <> node -> 'no')
            then 'does not have yes and no as its two children'
          when node ? 'missing'
            and node -> 'missing' not in (node -> 'yes', node -> 'no')
              then 'sends missing values neither to yes nor to no'
          when node ? 'split_condition'
            and jsonb_typeof(node -> 'split_condition') not in ('number', 'array')
              then 'has a split_condition that is neither a number nor a list of categories'
          when jsonb_typeof(node -> 'split_condition') = 'array'
            and jsonb_typeof(v_given -> 'categories' -> (node ->> 'split')) is distinct from 'array'
            then format('splits the category "%s", whose values are not listed', node ->> 'split')
        end as wrong
      from dumped
    ), numbered as (
      select *, row_number() over (partition by tree order by depth, lpad(node ->> 'nodeid', 9, '0')) - 1 as number
      from checked
    ), converted as (
      select
        one.tree, one.number as node, parent.number as parent, one.node ->> 'split' as feature,
        -- As XGBoost holds it: in four bytes. An indicator is there or not.
        case
          when one.node ? 'leaf' or jsonb_typeof(one.node -> 'split_condition') = 'array' then null
          when jsonb_typeof(one.node -> 'split_condition') = 'number'
            then ml._single_precision((one.node ->> 'split_condition')::float8)
          when one.node ? 'split_condition' then null
          else 0.5
        end as threshold,
        case when jsonb_typeof(one.node -> 'split_condition') = 'array' then one.node -> 'split_condition'
          end as categories,
        -- Left is yes, but for an indicator, which is yes when it is there.
        case
          when one.node ? 'leaf' then null
          when not one.node ? 'missing' then true
          when one.node ? 'split_condition' then one.node -> 'missing' = one.node -> 'yes'
          else one.node -> 'missing' = one.node -> 'no'
        end as missing_left,
        case when one.node ? 'leaf' or one.node ? 'split_condition' then one.node -> 'yes' else one.node -> 'no'
          end as left_id,
        case when one.node ? 'leaf' or one.node ? 'split_condition' then one.node -> 'no' else one.node -> 'yes'
          end as right_id,
        one.node -> 'leaf' as value, one.node -> 'gain' as gain, one.node -> 'cover' as cover, one.wrong,
          one.node ->> 'nodeid' as nodeid
      from numbered as one
      left join numbered as parent on parent.tree = one.tree and parent.node ->> 'nodeid' = one.parent::text
    )
    select
      min(format('tree %s: node %s %s', converted.tree, coalesce(converted.nodeid, '?'), converted.wrong))
        filter (where converted.wrong is not null),
      jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'tree', converted.tree, 'node', converted.node, 'parent', converted.parent, 'feature',
        converted.feature, 'threshold', converted.threshold,
        'categories', converted.categories, 'missing_left', converted.missing_left, 'left_node',
        left_child.node, 'right_node', right_child.node,
        'value', converted.value, 'gain', converted.gain, 'cover', coalesce(converted.cover, '0')
      )) order by converted.tree, converted.node)
    into v_wrong, v_nodes
    from converted
    left join converted as left_child on left_child.tree = converted.tree
      and left_child.nodeid = converted.left_id #>> '{}'
    left join converted as right_child on right_child.tree = converted.tree
      and right_child.nodeid = converted.right_id #>> '{}';
  exception when numeric_value_out_of_range then
    perform common.refuse('CF009', format('a number of the trees can not be held: %s', left(sqlerrm, 100)),
      'Numbers lie between 1e-307 and 1e308.');
  end;
  if v_wrong is not null then
    perform common.refuse(
      'CF009',
      left(v_wrong, 300),
      'Give what get_dump(dump_format="json") gives; list the values of categories in "categories": {"country": '
        || '["at", "de"]}.'
    );
  end if;
  return jsonb_build_object(
    'kind', 'trees', 'link', v_link, 'intercept', v_base, 'single_precision', true, 'nodes', v_nodes,
    'features', (
      select coalesce(jsonb_agg(
        jsonb_build_object('name', used.feature, 'type', case when used.categorical then 'category' else 'number' end)
        || case when used.categorical then jsonb_build_object('categories', (select jsonb_agg(category)
            from jsonb_array_elements_text(v_given -> 'categories' -> used.feature) as category)) else '{}' end
        order by used.feature
      ), '[]')
      from (
        select node ->> 'feature' as feature, bool_or(node ? 'categories') as categorical
        from jsonb_array_elements(v_nodes) as node
        where node ? 'feature'
        group by 1
      ) as used
    )
  );
end;
$$;

comment on function ml._import_xgboost(jsonb) is $$
A model document of trees in XGBoost's JSON dump.
Numbers are compared in single precision, as XGBoost does. Error CF009 names the tree and the node.
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
  v_document jsonb;
  v_version int;
  v_model ml.model;
begin
  if format is null or format not in ('linear', 'logistic', 'xgboost', 'embeddings', 'scores') then
    perform common.refuse('CF001', pg_catalog.format('there is no format "%s"', coalesce(left(format, 100), 'null')),
      'Choose linear, logistic, xgboost, embeddings or scores.');
  elsif document is null or jsonb_typeof(document) not in ('object', 'array') then
    perform common.refuse(
      'CF009',
      pg_catalog.format('the document is %s', coalesce('a JSON ' || jsonb_typeof(document), 'null')),
      'src/sql/ml/README.md shows the form of each format.'
    );
  elsif jsonb_typeof(document) = 'array' and format <> 'xgboost' then
    perform common.refuse('CF009', 'the document is a list',
      'Give an object; only the trees of xgboost may be a bare list.');
  end if;
  v_document := case
    when format = 'linear' then ml._import_linear(document, 'identity')
    when format = 'logistic' then ml._import_linear(document, 'logit')
    when format = 'xgboost' then ml._import_xgboost(document)
    else ml._import_keyed(document, format)
  end;
  v_version := ml.register_model(
    project, task, coalesce(algorithm, 'imported ' || format), v_document, metrics,
      jsonb_build_object('imported', format), metric, null, data_watermark, null, null, description
  );
  v_model := ml._version(project, v_version);
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
{"tax": 590}}; `xgboost` takes the list of trees that get_dump(dump_format="json") gives, or {"trees": …, "objective":
"binary:logistic", "base_score": 0.5, "categories":
{…}}; `embeddings` takes {"keys": ["person", "item"], "embeddings": {"person": {"ada": […]}, "item": {…}},
"similarity": "inner_product" or "cosine"}; `scores` takes {"keys": ["item"], "scores": [{"item": "sql", "score":
0.7}], "default": 0}. src/sql/ml/README.md shows each. Keys that name people are not erased with them: use others.
`algorithm` says how it was made, such as `scikit-learn LogisticRegression`. Errors: CF001 (format, name, task), CF009
(the document; names the node), CF010.
$$;

grant execute on function
  ml._import_linear(jsonb, text), ml._import_xgboost(jsonb), ml._import_keyed(jsonb, text),
  ml.import_model(text, text, text, jsonb, text, jsonb, text, timestamptz, text)
to insights_admin, insights_worker;
