create or replace function ml.pca_project(
  source_table text,
  pc_table text,
  out_table text,
  row_id text,
  residual_table text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_relation regclass := common.relation(source_table);
  v_model regclass := common.relation(pc_table);
  v_mean_table text;
  v_output text := common.output_table(out_table);
  v_residual text := case when residual_table is not null then common.output_table(residual_table) end;
  v_id text := common.column_name(v_relation, row_id, 'row id');
  v_components float8[];
  v_mean float8[];
  v_scale float8[];
  v_wrong bigint;
  v_input text;
begin
  select format('%I.%I', namespace.nspname, class.relname || '_mean')
  into v_mean_table
  from pg_catalog.pg_class as class
  join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where class.oid = v_model;
  if to_regclass(v_mean_table) is null or not 'principal_components' = any (common.columns(v_model)) then
    perform common.refuse('CF002', format('"%s" is not a table of principal components', left(pc_table, 100)),
      'Give the output table of ml.pca_train, which has a table of means.');
  end if;
  execute format('select array_agg(principal_components order by row_id) from %s', v_model) into v_components;
  execute format('select column_mean, coalesce(column_scale, array_fill(1::float8, array[cardinality(column_mean)]))
      from %s', v_mean_table) into v_mean, v_scale;
  v_input := ml._pca_input(v_relation, v_id);
  execute format('select count(*) from (select %s as x from %s) as source where cardinality(x) <> %s', v_input,
    v_relation, cardinality(v_mean)) into v_wrong;
  if v_wrong > 0 then
    perform common.refuse(
      'CF001',
      format('%s rows of "%s" have not %s dimensions', v_wrong, v_relation, cardinality(v_mean)),
      'Project rows of the kind that the components were trained on.'
    );
  end if;
  perform ml._create_table(format(
    'create table %s as
     select %s, array[%s] as row_vec
     from (select %s, %s as x from %s offset 0) as source
     where x is not null',
    v_output, v_id,
    (
      select string_agg(dot, ', ' order by component)
      from (
        select component,
          string_agg(format('(x[%s] - %L::float8) * %L::float8', i, v_mean[i],
              v_components[component][i] / v_scale[i]), ' + ' order by i) as dot
        from generate_series(1, array_length(v_components, 1)) as component
        cross join generate_series(1, cardinality(v_mean)) as i
        group by component
      ) as product
    ),
    v_id, v_input, v_relation
  ));
  if v_residual is not null then
    perform ml._create_table(format(
      'create table %s as
       select %s, array[%s] as row_vec
       from (select %s, %s as x from %s offset 0) as source
       join %s as projected using (%s)',
      v_residual, v_id,
      (
        select string_agg(format('x[%s] - %L::float8 - %L::float8 * (%s)', i, v_mean[i], v_scale[i], (
          select string_agg(format('projected.row_vec[%s] * %L::float8', component, v_components[component][i]), ' + '
            order by component)
          from generate_series(1, array_length(v_components, 1)) as component
        )), ', ' order by i)
        from generate_series(1, cardinality(v_mean)) as i
      ),
      v_id, v_input, v_relation, v_output, v_id
    ));
  end if;
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml.pca_project(text, text, text, text, text) is $$
@behavior -*
Rows in the coordinates of the principal components of ml.pca_train.
Writes `out_table`: the row id and `row_vec` (float8[], one entry a component); and `residual_table`, if named: what
the components leave of each row.
Errors: CF001 (other dimensions), CF002 (not components), CF003 (a table exists), CF005.
$$;

grant execute on function ml.pca_project(text, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
