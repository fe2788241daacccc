create or replace function ml.cross_validation_general(
  modelling_func text,
  modelling_params text[],
  modelling_params_type text[],
  param_explored text,
  explore_values text[],
  predict_func text,
  predict_params text[],
  predict_params_type text[],
  metric_func text,
  metric_params text[],
  metric_params_type text[],
  data_tbl text,
  data_id text,
  id_is_random boolean,
  validation_result text,
  data_cols text[] default null,
  fold_num int default 10,
  fold_by text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set client_min_messages to warning
as $$
declare
  v_relation regclass := common.relation(data_tbl);
  v_result text := common.output_table(validation_result);
  v_id text := common.column_name(v_relation, data_id, 'data id');
  v_unit text := v_id;
  v_columns text;
  v_value text;
  v_part text;
  v_units bigint;
  v_error float8;
  v_names text[];
  v_explored text[] := '{}';
  v_errors float8[] := '{}';
begin
  if fold_num is null or fold_num not between 2 and 1000 then
    perform common.refuse('CF001', format('fold_num %s', coalesce(fold_num::text, 'null')), 'Choose 2 to 1000 folds.');
  elsif coalesce(cardinality(explore_values), 0) = 0 then
    perform common.refuse('CF001', 'there are no values to explore', 'Give at least one value of the parameter.');
  elsif param_explored is null or not exists (
    select from unnest(modelling_params) as parameter
    where regexp_replace(parameter, '^\s*[a-z_][a-z0-9_]*\s*=>\s*', '') = param_explored
  ) then
    perform common.refuse(
      'CF001',
      format('"%s" is not among the modelling parameters', coalesce(left(param_explored, 100), 'null')),
      'Put the name of the explored parameter where its value belongs.'
    );
  end if;
  if cardinality(modelling_params) is distinct
    from cardinality(modelling_params_type) or cardinality(predict_params) is distinct
      from cardinality(predict_params_type)
    or cardinality(metric_params) is distinct from cardinality(metric_params_type) then
    perform common.refuse('CF001', 'a list of parameters and that of their types differ in length',
      'Each parameter has a type.');
  end if;
  if fold_by is not null then
    v_unit := common.column_name(v_relation, fold_by, 'fold_by');
  end if;
  foreach v_part in array array[modelling_func, predict_func, metric_func] loop
    if to_regproc(v_part) is null then
      perform common.refuse(
        'CF002',
        format('there is no function "%s", or more than one', coalesce(left(v_part, 100), 'null')),
        'Name it with its schema, such as ml.gbm_train.'
      );
    end if;
  end loop;
  v_columns := case when data_cols is null then '*'
    else array_to_string(
      common.column_names(v_relation, array_to_string(array[data_id] || data_cols, ', '), 'data columns'), ', ') end;
  drop table if exists pg_temp._ml_cv_fold;
  -- Whole units (rows, or all rows of a person or a course) go into a fold, in the order of a hash, or of the id
  -- where that is random already.
  execute format(
    'create temp table _ml_cv_fold on commit drop as select unit, (row_number() over (order by %s) - 1) %% %s as fold
      from (select distinct %s as unit from %s) as seen',
    case when id_is_random and fold_by is null then 'unit' else 'hashtextextended(unit::text, 0), unit::text' end,
      fold_num, v_unit, v_relation
  );
  execute 'select count(*) from pg_temp._ml_cv_fold' into v_units;
  if v_units < fold_num then
    perform common.refuse(
      'CF004',
      format('"%s" has %s %s for %s folds', v_relation, v_units, coalesce(fold_by, data_id), fold_num),
      'Choose fewer folds.'
    );
  end if;
  -- The temporary schema by its own name: a function that creates a table there resolves it.
  v_names := array(
    select format('%I.%I', (pg_my_temp_schema()::regnamespace)::text, name)
    from unnest(array[
      '_ml_cv_train', '_ml_cv_valid', '_ml_cv_model', '_ml_cv_prediction', '_ml_cv_error', '_ml_cv_model_summary'
    ]) with ordinality as part (name, position)
    order by position
  );
  foreach v_value in array explore_values loop
    for v_fold in 0..fold_num - 1 loop
      execute 'drop table if exists ' || array_to_string(v_names, ', ');
      execute format('create table %s as select %s from %s
          where %s in (select unit from pg_temp._ml_cv_fold where fold <> %s)', v_names[1], v_columns, v_relation,
            v_unit, v_fold);
      execute format('create table %s as select %s from %s
          where %s in (select unit from pg_temp._ml_cv_fold where fold = %s)', v_names[2], v_columns, v_relation,
            v_unit, v_fold);
      execute ml._cross_validation_call(modelling_func, modelling_params, modelling_params_type, v_names[1], v_names,
        v_id, param_explored, v_value);
      execute ml._cross_validation_call(predict_func, predict_params, predict_params_type, v_names[2], v_names, v_id,
        param_explored, v_value);
      if to_regclass(v_names[4]) is null then
        perform common.refuse('CF001', format('%s made no table %%prediction%%', left(predict_func, 100)),
          'Give %prediction% where the name of its output table belongs.');
      end if;
      -- A measure compares predictions with the rows they were made for.
      execute format(
        'create temp table _ml_cv_scored as select * from %s as validation join %s as prediction using (%s)',
        v_names[2], v_names[4], v_id
      );
      execute ml._cross_validation_call(metric_func, metric_params, metric_params_type, v_names[2], v_names, v_id,
        param_explored, v_value);
      if to_regclass(v_names[5]) is null then
        perform common.refuse('CF001', format('%s made no table %%error%%', left(metric_func, 100)),
          'Give %error% where the name of its output table belongs.');
      end if;
      execute format('select %I from %s limit 1', (common.columns(v_names[5]::regclass))[1], v_names[5]) into v_error;
      drop table pg_temp._ml_cv_scored;
      v_explored := v_explored || v_value;
      v_errors := v_errors || v_error;
    end loop;
  end loop;
  execute 'drop table if exists ' || array_to_string(v_names, ', ');
  drop table pg_temp._ml_cv_fold;
  execute format(
    'create table %1$s as
     select %2$I, avg(error) as error_avg, stddev_samp(error) as error_stddev
     from unnest(%3$L::text[], %4$L::float8[]) as measured (%2$I, error)
     group by %2$I
     order by array_position(%5$L::text[], %2$I)',
    v_result, param_explored, v_explored, v_errors, explore_values
  );
end;
$$;

comment on function ml.cross_validation_general(
  text, text[], text[], text, text[], text, text[], text[], text, text[], text[], text, text, boolean, text, text[],
  int, text
) is $$
@behavior -*
Cross-validation of any training, prediction and measure, over values of one parameter, in MADlib's arguments.
Parameters are texts with their types; in them stand `%data%` (the rows to train on, then to predict), `%model%`,
`%id%`, `%prediction%` (the table that the prediction makes), `%scored%` (the rows to validate on, joined with it by
id: what the measure reads), `%error%` (the table that the measure makes) and, in the modelling parameters, the name
of the explored parameter for its value. A parameter may be named: `num_trees => 50`.
With `fold_by` all rows of a unit (a person, a course) go to one fold: the honest way when rows of a unit resemble
each other. For time use ml.time_split.
Writes `validation_result`: the parameter's value (text), `error_avg` and `error_stddev` over the folds.
Errors: CF001, CF002 (unknown function, table or column), CF003 (`validation_result` exists), CF004 (fewer rows or
units than folds), and those of the functions.
$$;

create or replace function ml._cross_validation_call(
  function_name text,
  parameters text[],
  types text[],
  data text,
  names text[],
  id text,
  explored text,
  value text
)
returns text
language plpgsql
stable
as $$
declare
  v_arguments text[] := '{}';
  v_match text[];
  v_text text;
begin
  for v_position in 1..coalesce(cardinality(parameters), 0) loop
    v_match := regexp_match(parameters[v_position], '^\s*([a-z_][a-z0-9_]*)\s*=>\s*(.*)$');
    v_text := coalesce(v_match[2], parameters[v_position]);
    if to_regtype(types[v_position]) is null then
      perform common.refuse('CF002', format('there is no type "%s"', coalesce(left(types[v_position], 100), 'null')),
        'Name a type for each parameter.');
    end if;
    v_text := case
      when v_text = explored then value
      when v_text = '%scored%' then format('%I.%I', (pg_my_temp_schema()::regnamespace)::text, '_ml_cv_scored')
      else replace(
        replace(replace(replace(replace(v_text, '%data%', data), '%model%', names[3]), '%prediction%',
            names[4]), '%error%', names[5]), '%id%', id)
    end;
    v_arguments := v_arguments
      || (coalesce(v_match[1] || ' => ', '') || format('%L::%s', v_text, to_regtype(types[v_position])));
  end loop;
  return format('select %s(%s)', to_regproc(function_name), array_to_string(v_arguments, ', '));
end;
$$;

comment on function ml._cross_validation_call(text, text[], text[], text, text[], text, text, text) is $$
Returns the call of one function of a cross-validation.
Its placeholders are filled in and every argument is a quoted literal of its type.
$$;

grant execute on function
  ml._cross_validation_call(text, text[], text[], text, text[], text, text, text),
  ml.cross_validation_general(text, text[], text[], text, text[], text, text[], text[], text, text[], text[], text,
    text, boolean, text, text[], int, text)
to insights_analyst, insights_admin, insights_worker;
