create or replace function ml.summary(
  source_table text,
  output_table text,
  target_cols text default null,
  grouping_cols text default null,
  get_distinct boolean default true,
  get_quartiles boolean default true,
  ntile_array float8[] default null,
  how_many_mfv int default 10,
  get_estimates boolean default true,
  n_cols_per_run int default 15
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
  v_output text := common.output_table(output_table);
  v_groups text[] := common.column_names(v_relation, grouping_cols, 'grouping columns');
  v_columns text[] := coalesce(
    nullif(common.column_names(v_relation, target_cols, 'target columns'), '{}'),
    array(select quote_ident(name) from unnest(common.columns(v_relation)) with ordinality as stored (name, position)
      order by position)
  );
  v_column text;
  v_group text;
  v_type regtype;
  v_text boolean;
  v_number text;
  v_any boolean;
begin
  if exists (select from unnest(ntile_array) as share where share is null or not (share >= 0 and share <= 1)) then
    perform common.refuse('CF001', format('ntile_array %s', ntile_array), 'Quantiles are shares in 0..1.');
  elsif how_many_mfv is null or how_many_mfv not between 0 and 1000 then
    perform common.refuse('CF001', format('how_many_mfv %s', coalesce(how_many_mfv::text, 'null')),
      'Choose 0 to 1000.');
  end if;
  execute format('select exists (select from %s)', v_relation) into v_any;
  if not v_any then
    perform common.refuse('CF004', format('"%s" is empty', v_relation), 'There is nothing to summarize.');
  end if;
  execute format(
    'create table %s (group_by text, group_by_value text, target_column text, column_number int, data_type text,
        row_count bigint, distinct_values bigint,
       missing_values bigint, blank_values bigint, fraction_missing float8, fraction_blank float8,
         positive_values bigint, negative_values bigint, zero_values bigint,
       mean float8, variance float8, confidence_interval float8[], min float8, max float8, first_quartile float8,
         median float8, third_quartile float8,
       quantile_array float8[], most_frequent_values text[], mfv_frequencies bigint[])',
    v_output
  );
  foreach v_column in array v_columns loop
    v_type := common.expression_type(v_column, v_relation, 'target column');
    v_text := v_type in ('text'::regtype, 'character varying'::regtype, 'character'::regtype, 'name'::regtype);
    v_number := case
      when v_type in (
        'smallint'::regtype, 'integer'::regtype, 'bigint'::regtype,
        'real'::regtype, 'double precision'::regtype, 'numeric'::regtype
      ) then v_column || '::float8'
      when v_text then format('length(%s)::float8', v_column)
      else 'null::float8'
    end;
    -- MADlib's way: each grouping column by itself, and all rows when there is none.
    foreach v_group in array case when v_groups = '{}' then array[null::text] else v_groups end loop
      execute format(
        $query$
        insert into %1$s
        with value as (
          select %2$s as place, (%3$s)::text as shown, %4$s as number
          from %5$s
        ), measured as (
          select
            place,
            count(*) as row_count,
            %6$s as distinct_values,
            count(*) - count(shown) as missing_values,
            count(*) filter (where btrim(shown) = '') as blank_values,
            count(*) filter (where number > 0) as positive_values,
            count(*) filter (where number < 0) as negative_values,
            count(*) filter (where number = 0) as zero_values,
            avg(number) as mean, var_samp(number) as variance, count(number) as numbers, min(number) as least,
            max(number) as greatest,
            %7$s as quartiles,
            %8$s as quantiles
          from value
          group by place
        ), frequent as (
          select place, array_agg(shown order by times desc, shown) as most_frequent,
            array_agg(times order by times desc, shown) as times
          from (
            select place, shown, count(*) as times,
              row_number() over (partition by place order by count(*) desc, shown) as rank
            from value
            where shown is not null
              and %9$s > 0
            group by place, shown
          ) as counted
          where rank <= %9$s
          group by place
        )
        select
          %10$L, measured.place, %11$L, %12$s, %13$L, row_count, distinct_values, missing_values,
          case when %14$L then blank_values end,
          missing_values / row_count::float8,
          case when %14$L then blank_values / row_count::float8 end,
          case when not %14$L and numbers > 0 then positive_values end,
          case when not %14$L and numbers > 0 then negative_values end,
          case when not %14$L and numbers > 0 then zero_values end,
          mean, variance, case
            when numbers > 1 then array[mean - 1.959964 * sqrt(variance / numbers),
              mean + 1.959964 * sqrt(variance / numbers)] end,
          least, greatest, quartiles[1], quartiles[2], quartiles[3], quantiles, most_frequent, times
        from measured
        left join frequent on frequent.place is not distinct from measured.place
        order by measured.place
        $query$,
        v_output, coalesce(v_group || '::text', 'null::text'), v_column, v_number, v_relation,
        case when get_distinct then 'count(distinct shown)' else 'null::bigint' end,
        case when get_quartiles then 'percentile_cont(array[0.25, 0.5, 0.75]) within group (order by number)'
          else 'null::float8[]' end,
        case when ntile_array is not null then format('percentile_cont(%L::float8[]) within group (order by number)',
          ntile_array) else 'null::float8[]' end,
        how_many_mfv,
        case when v_group is not null then (parse_ident(v_group))[1] end,
        (parse_ident(v_column))[1],
        array_position(common.columns(v_relation), (parse_ident(v_column))[1]),
        v_type, v_text
      );
    end loop;
  end loop;
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml.summary(text, text, text, text, boolean, boolean, float8[], int, boolean, int) is $$
@behavior -*
Writes summary statistics of the columns of a table, in MADlib's columns:
one row per column and value of a grouping column.
Writes `output_table`: `group_by`, `group_by_value`, `target_column`, `column_number`, `data_type`, `row_count`,
`distinct_values` (exact), `missing_values`, `blank_values`, `fraction_missing`, `fraction_blank`, `positive_values`,
`negative_values`, `zero_values`, `mean`, `variance`, `confidence_interval` (95 % of the mean), `min`, `max`,
`first_quartile`, `median`, `third_quartile`, `quantile_array` (at the shares of `ntile_array`),
`most_frequent_values`, `mfv_frequencies`. For text the numbers are those of its length. `get_estimates` and
`n_cols_per_run` are MADlib's and change nothing: counts and quantiles are exact, columns are read in one scan.
Errors: CF001, CF002, CF003 (`output_table` exists), CF004 (empty), CF005.
$$;

grant execute on function ml.summary(text, text, text, text, boolean, boolean, float8[], int, boolean, int)
  to insights_analyst, insights_admin, insights_worker;
