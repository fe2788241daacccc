create or replace function ml.encode_categorical_variables(
  source_table text,
  output_table text,
  categorical_cols text,
  categorical_cols_to_exclude text default null,
  row_id text default null,
  top text default null,
  value_to_drop text default null,
  encode_null boolean default false,
  output_type text default 'column',
  output_dictionary boolean default false,
  distributed_by text default null
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
  v_excluded text[] := common.column_names(v_relation, categorical_cols_to_exclude, 'columns to exclude');
  v_ids text[] := common.column_names(v_relation, row_id, 'row id');
  v_columns text[];
  v_column text;
  v_name text;
  v_top float8;
  v_drop text;
  v_item text;
  v_values text[];
  v_frequent text[];
  v_value text;
  v_names text[] := '{}';
  v_expressions text[] := '{}';
  v_of text[] := '{}';
  v_shown text[] := '{}';
  v_rows bigint;
  v_kept text;
  v_keep_names boolean;
begin
  if btrim(categorical_cols) = '*' then
    v_columns := array(
      select quote_ident(attribute.attname)
      from pg_catalog.pg_attribute as attribute
      where attribute.attrelid = v_relation
        and attribute.attnum > 0
        and not attribute.attisdropped
        and common.base_type(attribute.atttypid::regtype) = any (
          array['text', 'character varying', 'character', 'boolean', 'smallint', 'integer', 'bigint']::regtype[])
        and not quote_ident(attribute.attname) = any (v_excluded || v_ids)
      order by attribute.attnum
    );
  else
    v_columns := array(
      select name
      from unnest(common.column_names(v_relation, categorical_cols, 'categorical columns')) with ordinality
        as part (name, position)
      where not name = any (v_excluded)
      order by position
    );
  end if;
  if v_columns = '{}' then
    perform common.refuse('CF004', 'no categorical column is left',
      'Name at least one column, or * for all of text, boolean and integer.');
  elsif output_type is null or output_type not in ('column', 'array') then
    perform common.refuse('CF001', format('output_type "%s"', coalesce(left(output_type, 100), 'null')),
      'Choose column or array.');
  end if;
  execute format('select count(*) from %s', v_relation) into v_rows;
  if v_rows = 0 then
    perform common.refuse('CF004', format('"%s" is empty', v_relation), 'There is nothing to encode.');
  end if;

  foreach v_column in array v_columns loop
    v_name := (parse_ident(v_column))[1];
    v_top := null;
    v_drop := null;
    foreach v_item in array coalesce(common.split_expressions(nullif(btrim(top), '')), '{}') loop
      begin
        if v_item !~ '=' then
          v_top := v_item::float8;
        elsif common.column_name(v_relation, btrim(split_part(v_item, '=', 1)), 'top') = v_column then
          v_top := btrim(split_part(v_item, '=', 2))::float8;
        end if;
      exception when invalid_text_representation then
        perform common.refuse('CF001', format('top "%s"', left(top, 100)),
          'Give a number of values, a share below 1, or a list such as sex=2, rings=0.5.');
      end;
    end loop;
    foreach v_item in array coalesce(common.split_expressions(nullif(btrim(value_to_drop), '')), '{}') loop
      if common.column_name(v_relation, btrim(split_part(v_item, '=', 1)), 'value_to_drop') = v_column then
        v_drop := btrim(substr(v_item, strpos(v_item, '=') + 1));
      end if;
    end loop;
    if v_top <= 0 then
      perform common.refuse('CF001', format('top %s', v_top), 'Give a number of values, or a share below 1.');
    end if;
    execute format('select array_agg(value order by ordering), array_agg(value order by times desc, value)
        from (select %1$s::text as value, min(%1$s::text) as ordering, count(*) as times from %2$s
          where %1$s is not null group by 1) as counted', v_column, v_relation)
    into v_values, v_frequent;
    v_values := coalesce(v_values, '{}');
    if v_top < 1 then
      -- The most frequent values that together make up this share of the rows.
      execute format(
        'select array_agg(value)
          from (select value, sum(times) over (order by times desc, value) - times as before,
            sum(times) over () as total
           from (select %1$s::text as value, count(*) as times from %2$s where %1$s is not null group by 1) as counted)
             as running where before < %3$L::float8 * total',
        v_column, v_relation, v_top
      ) into v_frequent;
    elsif v_top is not null then
      v_frequent := v_frequent[1:floor(v_top)::int];
    end if;
    if cardinality(v_names) + cardinality(v_values) > 1500 and v_top is null then
      perform common.refuse('CF008', format('"%s" has %s values', left(v_column, 100), cardinality(v_values)),
        'Encode the most frequent with top, or exclude the column.');
    end if;
    if v_drop is not null and not v_drop = any (v_values) then
      perform common.refuse('CF002', format('"%s" never holds "%s"', left(v_column, 100), left(v_drop, 100)),
        coalesce('Did you mean "' || common.nearest_name(v_drop, v_values) || '"?', 'Drop a value that occurs.'));
    end if;
    foreach v_value in array v_values loop
      continue when v_value = v_drop or (v_top is not null and not v_value = any (v_frequent));
      v_names := v_names || (v_name || '_' || v_value);
      v_of := v_of || v_name;
      v_shown := v_shown || v_value;
      v_expressions := v_expressions || format('coalesce(%s::text = %L, false)::int', v_column, v_value);
    end loop;
    if v_top is not null and cardinality(v_frequent) < cardinality(v_values) then
      v_names := v_names || (v_name || '__misc__');
      v_of := v_of || v_name;
      v_shown := v_shown || '__misc__'::text;
      v_expressions := v_expressions
        || format('coalesce(%1$s::text <> all (%2$L::text[]), false)::int', v_column, v_frequent
          || coalesce(v_drop, v_frequent[1]));
    end if;
    if encode_null then
      v_names := v_names || (v_name || '_null');
      v_of := v_of || v_name;
      v_shown := v_shown || null::text;
      v_expressions := v_expressions || format('(%s is null)::int', v_column);
    end if;
  end loop;
  if v_names = '{}' then
    perform common.refuse('CF004', 'no value is left to encode',
      'The columns are null, or their only values are dropped.');
  end if;
  -- Names that PostgreSQL would cut, or that two values share, are replaced by numbers; the dictionary has
  -- their meaning.
  v_keep_names := not output_dictionary
    and not exists (select from unnest(v_names) as name where octet_length(name) > 63)
    and (select count(distinct name) = count(*) from unnest(v_names) as name);
  if not v_keep_names then
    v_names := array(select v_of[position] || '_' || row_number() over (partition by v_of[position] order by position)
      from generate_series(1, cardinality(v_of)) as position order by position);
  end if;
  v_kept := case
    when v_ids <> '{}' then array_to_string(v_ids, ', ')
    else coalesce((
      select string_agg(quote_ident(name), ', ' order by position)
      from unnest(common.columns(v_relation)) with ordinality as stored (name, position)
      where not quote_ident(name) = any (v_columns)
    ), '')
  end;
  perform ml._create_table(format(
    'create table %s as select %s %s from %s',
    v_output, v_kept || case when v_kept = '' then '' else ',' end,
    case when output_type = 'array' then format('array[%s] as encoded', array_to_string(v_expressions, ', '))
    else (select string_agg(format('%s as %I', v_expressions[position], v_names[position]), ', ' order by position)
      from generate_series(1, cardinality(v_names)) as position) end,
    v_relation
  ));
  if not v_keep_names or output_type = 'array' then
    execute format(
      'create table %s as select encoded_column_name, index::int, variable, value
        from unnest(%L::text[], %L::text[], %L::text[]) with ordinality as entry (encoded_column_name, variable, value,
          index)',
      common.companion_table(v_output, '_dictionary'), v_names, v_of, v_shown
    );
  end if;
end;
$$;

comment on function ml.encode_categorical_variables(
  text, text, text, text, text, text, text, boolean, text, boolean, text
) is $$
@behavior -*
Encodes categories as columns of 0 and 1, in MADlib's arguments.
There is one column per value (one-hot), or one for all values but one (`value_to_drop`, such as `sex=M, rings=10`).
`categorical_cols`: a list, or `*` for all of text, boolean and integer. `row_id`: the columns to keep (null: all that
are not encoded). `top`: encode the most frequent values only (a number, or a share of the rows below 1; one for all
or a list such as `sex=2, rings=0.5`), the rest together as `<column>__misc__`.
`encode_null` adds `<column>_null`. Names are `<column>_<value>`; where one is too long, or with `output_dictionary`,
they are numbered and `<output_table>_dictionary` (`encoded_column_name`, `index`, `variable`, `value`) explains what
they
mean. `output_type` `array` gives one int[] `encoded`. `distributed_by` is MADlib's and changes nothing.
Errors: CF001, CF002 (unknown column or value), CF003 (a table exists), CF004 (empty), CF005, CF008 (over 1,500
columns).
$$;

grant execute on function ml.encode_categorical_variables(text, text, text, text, text, text, text, boolean, text,
  boolean, text) to insights_analyst, insights_admin, insights_worker;
