/*
 * A definer: analysts may not write the registry. It trains on values alone, which its caller has read with the
 * caller's own rights, and in projects that nothing else uses.
 */
create or replace function ml._train_rows(
  project text,
  task text,
  algorithm text,
  source text,
  id_column text,
  label text,
  names text[],
  types text[],
  source_rows jsonb,
  seed bigint
)
returns ml.training
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to warning
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_training ml.training;
  v_metric text;
begin
  if coalesce(_train_rows.project, '') !~ '^own\.[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$' or length(project) > 100 then
    perform common.refuse(
      'CF001',
      format('project is "%s"', coalesce(left(_train_rows.project, 100), 'null')),
      'Begin the name with own., such as own.grade, in lower case and with at most 100 characters. '
        || 'Administrators train other projects by ml.train.'
    );
  elsif coalesce(_train_rows.algorithm, '') not in ('elastic_net', 'linregr', 'logregr', 'mlogregr') then
    perform common.refuse(
      'CF001',
      format('algorithm is "%s"', coalesce(left(_train_rows.algorithm, 100), 'null')),
      'Choose elastic_net, linregr, logregr or mlogregr.'
    );
  end if;
  -- The caller is ml.train_regression, or else one who may do the same with any values.
  if cardinality(names) is distinct from cardinality(types)
    or array_position(types, null) is not null
    or not types <@ array['float8', 'boolean', 'text']
    or jsonb_typeof(source_rows) is distinct from 'array'
  then
    perform common.refuse('CF001', 'the rows are not those of a relation', 'Call ml.train_regression.');
  elsif jsonb_array_length(source_rows) > 20000 or cardinality(names) > 102 then
    perform common.refuse(
      'CF008',
      format('%s rows with %s columns', jsonb_array_length(source_rows), cardinality(names)),
      'There are at most 20000 rows, with 100 features.'
    );
  end if;

  execute format(
    'create temporary table _ml_source_row on commit drop as select * from jsonb_to_recordset($1) as source (%s)',
    (
      select string_agg(format('%I %s', entry.name, entry.type), ', ' order by entry.place)
      from unnest(names, types) with ordinality as entry (name, type, place)
    )
  )
  using source_rows;
  v_training := ml.train(
    _train_rows.project, _train_rows.task, 'pg_temp._ml_source_row', id_column, label,
    algorithm => _train_rows.algorithm, seed => _train_rows.seed
  );
  -- The relation is not watched: it may be readable for its readers alone.
  update ml.model
  set parameters = model.parameters - 'source_table' || jsonb_build_object('source', left(_train_rows.source, 200))
  from ml.project as trained
  where trained.name = _train_rows.project
    and model.project_id = trained.project_id
    and model.version = v_training.version;
  drop table pg_temp._ml_source_row;
  return v_training;
end;
$$;

comment on function ml._train_rows(text, text, text, text, text, text, text[], text[], jsonb, bigint) is $$
@behavior -*
Trains a regression on rows: see `ml.train_regression`, which reads them.
`source_rows` is an array of at most 20,000 objects with the keys `names`, whose types are float8, boolean or text.
$$;

grant execute on function ml._train_rows(text, text, text, text, text, text, text[], text[], jsonb, bigint)
to insights_analyst, insights_admin;

create or replace function ml.train_regression(
  project text,
  source_table text,
  id_column text,
  label text,
  features text[] default null,
  task text default 'regression',
  algorithm text default 'elastic_net',
  seed bigint default 0
)
returns ml.training
language plpgsql
volatile
as $$
declare
  v_relation constant regclass := common.relation(source_table);
  v_known constant text[] := common.columns(v_relation);
  v_asked constant text[] := array[id_column, label] || coalesce(features, '{}');
  v_names text[];
  v_types text[];
  v_wrong text;
  v_rows jsonb;
begin
  select coalesce(asked.name, 'null') into v_wrong
  from unnest(v_asked) with ordinality as asked (name, place)
  where asked.name is null or asked.name <> all (v_known)
  order by asked.place
  limit 1;
  if v_wrong is not null then
    perform common.refuse(
      'CF002',
      format('%s has no column "%s"', left(v_relation::text, 100), left(v_wrong, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(v_wrong, v_known) || '"?',
        format('It has %s.', left(array_to_string(v_known, ', '), 300))
      )
    );
  elsif id_column = label or features && array[id_column, label] then
    perform common.refuse('CF001', format('a column is named twice: %s', left(array_to_string(v_asked, ', '), 200)),
      'The id, the label and the features are different columns.');
  elsif cardinality(v_known) > 1600 or cardinality(features) > 100 then
    perform common.refuse('CF008', format('%s features', cardinality(features)), 'There are at most 100.');
  end if;

  -- Numbers, booleans and texts; other columns are features only where they are named, and then refused.
  select array_agg(listed.name order by listed.place), array_agg(listed.type order by listed.place)
  into v_names, v_types
  from (
    select
      known.name,
      known.place,
      case
        when known.name = id_column then 'text'
        when base.typname in ('int2', 'int4', 'int8', 'float4', 'float8', 'numeric') then 'float8'
        when base.typname = 'bool' then 'boolean'
        when base.typname in ('text', 'varchar', 'bpchar') or base.typtype = 'e' then 'text'
      end as type
    from unnest(v_known) with ordinality as known (name, place)
    join pg_catalog.pg_attribute as attribute
      on attribute.attrelid = v_relation and attribute.attname = known.name and attribute.attnum > 0
    join pg_catalog.pg_type as base on base.oid = common.base_type(attribute.atttypid)
  ) as listed
  where listed.name = any (v_asked)
    or features is null and listed.type is not null;
  select entry.name into v_wrong
  from unnest(v_names, v_types) as entry (name, type)
  where entry.type is null
  limit 1;
  if v_wrong is not null then
    perform common.refuse('CF001', format('"%s" is not a number, boolean or text', left(v_wrong, 100)),
      'Give a view that has it as one of these.');
  end if;

  -- With the caller's rights, in a statement of the caller's own time limit.
  execute format(
    'select coalesce(jsonb_agg(to_jsonb(listed)), ''[]'') from (select %s from %s limit 20001) as listed',
    (
      select string_agg(format('source.%1$I::%2$s as %1$I', entry.name, entry.type), ', ' order by entry.place)
      from unnest(v_names, v_types) with ordinality as entry (name, type, place)
    ),
    v_relation::text || ' as source'
  )
  into v_rows;
  if jsonb_array_length(v_rows) > 20000 then
    perform common.refuse(
      'CF008',
      format('%s has more than 20000 rows', left(v_relation::text, 100)),
      'Give a view with fewer, such as a sample by a hash of the id. Administrators train on more by ml.train.'
    );
  end if;
  return ml._train_rows(
    project, task, algorithm, v_relation::text, id_column, label, v_names, v_types, v_rows, seed
  );
end;
$$;

comment on function ml.train_regression(text, text, text, text, text[], text, text, bigint) is $$
Trains a regression on a table or view that the caller may read, as a version of a project of the caller's own.
For analysts; `ml.train` trains on more rows and other models. `project` begins with `own.`; `source_table` is read with
the rights of the caller, and its rows are not stored. `id_column` names the rows, whose hash divides them in those to
train on and those held out; `label` is what is predicted; `features`: columns of numbers, booleans and texts (at most
100), null: all others. `task`: `regression`, or `classification` (label boolean, 0 and 1, text or integers);
`algorithm`: `elastic_net`, `linregr`, `logregr` or, for several classes, `mlogregr`. At most 20,000 rows; the version
is deployed in the project if it is better than the deployed one on the rows that are held out.
Returns the metrics, and how the version compares. `ml.predict` answers with it, and `ml.importances` explains it.
Errors: CF001, CF002 (no such relation or column; names the nearest), CF004 (too few rows), CF005 (not readable), CF007
(collinear, separated), CF008 (more rows or features), CF010 (the project has another task).
$$;

grant execute on function ml.train_regression(text, text, text, text, text[], text, text, bigint)
to insights_analyst, insights_admin;
