create or replace function ml._pairs(
  source_table text,
  output_table text,
  target_cols text,
  grouping_cols text,
  aggregate text
)
returns void
language plpgsql
set jit to off
set client_min_messages to warning
as $$
declare
  v_relation regclass := common.relation(source_table);
  v_output text := common.output_table(output_table, array['_summary']);
  v_groups text[] := common.column_names(v_relation, grouping_cols, 'grouping columns');
  v_columns text[];
  v_numbers text[];
  v_rows bigint;
  v_wrong text;
begin
  if coalesce(btrim(target_cols), '*') = '*' then
    v_columns := array(
      select quote_ident(attribute.attname)
      from pg_catalog.pg_attribute as attribute
      where attribute.attrelid = v_relation
        and attribute.attnum > 0
        and not attribute.attisdropped
        and common.base_type(attribute.atttypid::regtype) = any (
          array['smallint', 'integer', 'bigint', 'real', 'double precision', 'numeric', 'boolean']::regtype[])
        and not quote_ident(attribute.attname) = any (v_groups)
      order by attribute.attnum
    );
  else
    v_columns := common.column_names(v_relation, target_cols, 'target columns');
  end if;
  if cardinality(v_columns) < 2 then
    perform common.refuse('CF004', format('"%s" has %s columns to compare', v_relation, cardinality(v_columns)),
      'Name at least two columns of numbers.');
  elsif cardinality(v_columns) > 500 then
    perform common.refuse('CF008', format('%s columns', cardinality(v_columns)), 'Name up to 500 columns.');
  end if;
  v_numbers := array(select common.numeric_expression(name, v_relation, 'target column')
    from unnest(v_columns) with ordinality as part (name, position) order by position);
  drop table if exists pg_temp._ml_pair;
  execute format(
    'create temp table _ml_pair on commit drop as
      select %s count(*) as _row_count, array[%s]::float8[] as _below from %s
      where %s %s having count(*) > 0',
    (select coalesce(string_agg(name || ', ', '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position)),
    -- The lower triangle, row by row, as one list of built-in aggregates.
    (
      select string_agg(format('%s(%s, %s)', aggregate, left_side.number, right_side.number), ', '
        order by left_side.position, right_side.position)
      from unnest(v_numbers) with ordinality as left_side (number, position)
      join unnest(v_numbers) with ordinality as right_side (number,
        position) on right_side.position <= left_side.position
    ),
    v_relation,
    (select string_agg(name || ' is not null', ' and ') from unnest(v_columns) as name),
    case when v_groups = '{}' then '' else 'group by ' || array_to_string(v_groups, ', ') end
  );
  select sum(_row_count) into v_rows from pg_temp._ml_pair;
  if coalesce(v_rows, 0) = 0 then
    perform common.refuse(
      'CF004',
      format('"%s" has no row without a null in %s', v_relation, array_to_string(v_columns, ', ')),
      'Rows with a null in any of the columns are left out.'
    );
  end if;
  -- NaN and infinity make what their column is compared with, itself included, NaN.
  select name
  into v_wrong
  from pg_temp._ml_pair
  cross join unnest(v_columns) with ordinality as part (name, position)
  where _below[position * (position + 1) / 2] in ('NaN', 'Infinity', '-Infinity')
  order by position
  limit 1;
  if v_wrong is not null then
    perform common.refuse('CF001', format('%s of "%s" holds NaN or infinity', left(v_wrong, 100), v_relation),
      'Leave such rows out, or make the values null: rows with a null are left out.');
  end if;
  perform ml._create_table(format(
    'create table %s as select %s column_position::int, variable, %s from pg_temp._ml_pair cross
      join unnest(%L::text[]) with ordinality as line (variable, column_position) order by %s column_position',
    v_output,
    (select coalesce(string_agg(name || ', ', '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position)),
    (
      select string_agg(
        format('case when column_position >= %1$s then _below[column_position * (column_position - 1) / 2 + %1$s]
            end as %2$s', position, name), ', ' order by position)
      from unnest(v_columns) with ordinality as part (name, position)
    ),
    array(select (parse_ident(name))[1] from unnest(v_columns) with ordinality as part (name, position)
      order by position),
    (select coalesce(string_agg(name || ', ', '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position))
  ));
  execute format(
    'create table %s as select %L::text as method, %L::text as source, %L::text as output_table,
      %L::text[] as column_names, %s::bigint as total_rows_processed, (select count(*)
        from %s) - %s as total_rows_skipped',
    common.companion_table(v_output, '_summary'), case aggregate when 'corr' then 'Correlation' else 'Covariance' end,
    v_relation, v_output, v_columns, v_rows, v_relation, v_rows
  );
  drop table pg_temp._ml_pair;
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml._pairs(text, text, text, text, text) is $$
Writes the lower triangle of a two-argument aggregate over all pairs of columns, in one scan.
$$;

grant execute on function ml._pairs(text, text, text, text, text) to insights_analyst, insights_admin, insights_worker;
