create or replace function ml.pivot(
  source_table text,
  output_table text,
  index text,
  pivot_cols text,
  pivot_values text,
  aggregate_func text default 'avg',
  fill_value text default null,
  keep_null boolean default false,
  output_col_dictionary boolean default false,
  output_type text default 'column'
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := common.relation(source_table);
  v_output text := common.output_table(output_table, array['_dictionary']);
  v_index text[] := common.column_names(v_relation, index, 'index');
  v_pivots text[] := common.column_names(v_relation, pivot_cols, 'pivot columns');
  v_values text[] := common.column_names(v_relation, pivot_values, 'pivot values');
  v_item text;
  v_aggregates text[] := '{}';
  v_aggregated text[] := '{}';
  v_value text;
  v_aggregate text;
  v_combination jsonb;
  v_combinations jsonb;
  v_names text[] := '{}';
  v_expressions text[] := '{}';
  v_dictionary jsonb[] := '{}';
  v_filter text;
  v_label text;
begin
  if v_index = '{}' or v_pivots = '{}' or v_values = '{}' then
    perform common.refuse('CF001', 'index, pivot columns or pivot values are missing',
      'Name at least one column of each.');
  elsif output_type is null or output_type not in ('column', 'array') then
    perform common.refuse('CF001', format('output_type "%s"', coalesce(left(output_type, 100), 'null')),
      'Choose column or array.');
  end if;
  -- `avg`, `avg, sum` for every value, or `val=avg, val2=[avg, sum]`.
  foreach v_item in array coalesce(common.split_expressions(nullif(btrim(aggregate_func), '')), array['avg']) loop
    v_value := case
      when v_item ~ '=' then common.column_name(v_relation, btrim(split_part(v_item, '=', 1)), 'aggregate_func') end;
    foreach v_aggregate in array common.split_expressions(btrim(substr(v_item, strpos(v_item, '=') + 1), ' []')) loop
      if to_regproc(v_aggregate) is null and not exists (
        select from pg_catalog.pg_proc where proname = lower(v_aggregate) and prokind = 'a'
      ) or v_aggregate !~* '^[a-z_][a-z0-9_.]*$' then
        perform common.refuse('CF002', format('there is no aggregate "%s"', left(v_aggregate, 100)),
          'Name an aggregate of one argument, such as avg, sum, count, min or max.');
      end if;
      v_aggregates := v_aggregates || lower(v_aggregate);
      v_aggregated := v_aggregated || v_value;
    end loop;
  end loop;
  execute format(
    'select jsonb_agg(combination order by %1$s)
      from (select distinct %1$s, jsonb_build_array(%2$s) as combination from %3$s %4$s) as seen',
    array_to_string(v_pivots, ', '),
    (select string_agg(name || '::text', ', ' order by position)
      from unnest(v_pivots) with ordinality as part (name, position)),
    v_relation,
    case when keep_null then '' else 'where ' || (select string_agg(name || ' is not null', ' and ')
      from unnest(v_pivots) as name) end
  ) into v_combinations;
  if v_combinations is null then
    perform common.refuse('CF004', format('"%s" has no value in %s', v_relation, left(pivot_cols, 100)),
      'Pivoting needs rows; keep_null makes a column for null.');
  elsif jsonb_array_length(v_combinations) * cardinality(v_values) * cardinality(v_aggregates) > 1500 then
    perform common.refuse(
      'CF008',
      format('%s combinations of %s', jsonb_array_length(v_combinations), left(pivot_cols, 100)),
      'A table has room for 1,500 of them.'
    );
  end if;
  foreach v_value in array v_values loop
    for v_position in 1..cardinality(v_aggregates) loop
      continue when v_aggregated[v_position] is not null and v_aggregated[v_position] <> v_value;
      for v_combination in select value from jsonb_array_elements(v_combinations) loop
        select
          string_agg(format('%s::text is not distinct from %L', v_pivots[position], part), ' and ' order by position),
          string_agg((parse_ident(v_pivots[position]))[1] || '_' || coalesce(part, 'null'), '_' order by position)
        into v_filter, v_label
        from jsonb_array_elements_text(v_combination) with ordinality as entry (part, position);
        v_names := v_names || format('%s_%s_%s', (parse_ident(v_value))[1], v_aggregates[v_position], v_label);
        v_expressions := v_expressions || case
          when fill_value is null then format('%s(%s) filter (where %s)', v_aggregates[v_position], v_value, v_filter)
          else format('coalesce(%s(%s) filter (where %s), %L)', v_aggregates[v_position], v_value, v_filter, fill_value)
        end;
        v_dictionary := v_dictionary
          || jsonb_build_object('value', v_value, 'aggregate', v_aggregates[v_position], 'pivot', v_combination);
      end loop;
    end loop;
  end loop;
  if output_col_dictionary or output_type = 'array'
    or exists (select from unnest(v_names) as name where octet_length(name) > 63)
      or (select count(distinct name) < count(*) from unnest(v_names) as name) then
    v_names := array(select '__p_' || position || '__' from generate_series(1, cardinality(v_names)) as position
      order by position);
    perform ml._create_table(format(
      'create table %s as
       select column_name, entry ->> ''value'' as pval, entry ->> ''aggregate'' as agg, %s
       from unnest(%L::text[], %L::jsonb[]) with ordinality as listed (column_name, entry, position) order by position',
      common.companion_table(v_output, '_dictionary'),
      (select string_agg(format('entry -> ''pivot'' ->> %s as %s', position - 1, name), ', ' order by position)
        from unnest(v_pivots) with ordinality as part (name, position)),
      v_names, v_dictionary
    ));
  end if;
  begin
    perform ml._create_table(format(
      'create table %1$s as select %2$s, %3$s from %4$s group by %2$s order by %2$s',
      v_output, array_to_string(v_index, ', '),
      case when output_type = 'array' then format('array[%s] as pivoted', array_to_string(v_expressions, ', '))
      else (select string_agg(format('%s as %I', v_expressions[position], v_names[position]), ', ' order by position)
        from generate_series(1, cardinality(v_names)) as position) end,
      v_relation
    ));
  exception when undefined_function or datatype_mismatch or invalid_text_representation then
    perform common.refuse(
      'CF001',
      format('%s of %s: %s', array_to_string(v_aggregates, ', '), left(pivot_values, 100), left(sqlerrm, 100)),
      'Choose aggregates and a fill value of the values'' type.'
    );
  end;
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml.pivot(text, text, text, text, text, text, text, boolean, boolean, text) is $$
@behavior -*
Values of columns as columns:
one row per `index`, one column per combination of `pivot_cols`, filled by an aggregate of `pivot_values`; in one scan.
`aggregate_func`: `avg`, a list for every value (`avg, sum`), or by value (`price=[avg, sum], size=max`). `fill_value`
is used where a combination has no row; `keep_null` makes columns for null. Columns are `<value>_<aggregate>_<pivot
column>_<its value>`; where one is too long, or with `output_col_dictionary`, they are numbered and
`<output_table>_dictionary` explains the names. `output_type` `array` gives one array `pivoted`.
Errors: CF001, CF002 (unknown column or aggregate), CF003 (a table exists), CF004 (no rows), CF005, CF008 (over 1,500
columns).
$$;

grant execute on function ml.pivot(text, text, text, text, text, text, text, boolean, boolean, text)
  to insights_analyst, insights_admin, insights_worker;
