create or replace function ml.pca_train(
  source_table text,
  out_table text,
  row_id text,
  components_param float8,
  grouping_cols text default null,
  lanczos_iter int default null,
  use_correlation boolean default false,
  result_summary_table text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_relation regclass := common.relation(source_table);
  v_output text := common.output_table(out_table, array['_mean']);
  v_id text := common.column_name(v_relation, row_id, 'row id');
  v_input text := ml._pca_input(v_relation, v_id);
  v_seen record;
  v_mean float8[];
  v_scale float8[];
  v_below float8[] := '{}';
  v_part float8[];
  v_size int;
  v_from int := 1;
  v_to int;
  v_eigen record;
  v_total float8;
  v_components int;
begin
  if nullif(btrim(grouping_cols), '') is not null then
    perform common.refuse('CF001', 'components are not computed by group',
      'Train one table on a view of each group; leave grouping_cols null.');
  elsif result_summary_table is not null then
    perform common.refuse('CF001', format('result_summary_table "%s"', left(result_summary_table, 100)),
      'The table <out_table>_mean has the numbers of rows; leave it null.');
  elsif components_param is null or not (components_param > 0 and components_param < 1e9) then
    perform common.refuse('CF001', format('components_param %s', coalesce(components_param::text, 'null')),
      'Give a number of components, or a share of the variance below 1.');
  end if;
  drop table if exists pg_temp._ml_pca;
  execute format('create temp table _ml_pca on commit drop as select %s as x from %s', v_input, v_relation);
  select count(x) as row_count, count(*) - count(x) as skipped, min(cardinality(x)) as least,
    max(cardinality(x)) as most,
    count(*) filter (where array_position(x, null) is not null or x && array['NaN', 'Infinity', '-Infinity']::float8[])
      as bad
  into v_seen
  from pg_temp._ml_pca;
  if v_seen.row_count < 2 then
    perform common.refuse('CF004', format('"%s" has %s rows with a vector', v_relation, v_seen.row_count),
      'Two rows at least have a variance.');
  elsif v_seen.least <> v_seen.most or v_seen.least < 1 then
    perform common.refuse('CF001', format('vectors have %s to %s dimensions', v_seen.least, v_seen.most),
      'All vectors have the same number of dimensions.');
  elsif v_seen.bad > 0 then
    perform common.refuse('CF001', format('%s vectors hold a null, NaN or infinity', v_seen.bad),
      'Leave such rows out or fill them.');
  elsif v_seen.most > 200 then
    perform common.refuse('CF008', format('%s dimensions', v_seen.most),
      'Up to 200 are decomposed; choose the columns that matter.');
  end if;
  v_size := v_seen.most;
  if components_param >= 1 and components_param > v_size then
    perform common.refuse('CF001', format('%s components of %s dimensions', components_param, v_size),
      'There are at most as many components as dimensions.');
  end if;
  execute format('select array[%s], array[%s] from pg_temp._ml_pca where x is not null',
    (select string_agg(format('avg(x[%s])', i), ', ' order by i) from generate_series(1, v_size) as i),
    (select string_agg(format('stddev_samp(x[%s])', i), ', ' order by i) from generate_series(1, v_size) as i)
  ) into v_mean, v_scale;
  if use_correlation and 0 = any (v_scale) then
    perform common.refuse(
      'CF007',
      format('dimension %s is constant and has no correlation', array_position(v_scale, 0)),
      'Leave it out, or set use_correlation to false.'
    );
  elsif 0 = all (v_scale) then
    perform common.refuse('CF004', 'nothing varies', 'All rows have the same vector.');
  end if;
  -- Rows of the lower triangle, as many a scan as a select list holds.
  while v_from <= v_size loop
    v_to := v_from;
    while v_to < v_size and (v_to + 1) * (v_to + 2) / 2 - v_from * (v_from - 1) / 2 <= 1500 loop
      v_to := v_to + 1;
    end loop;
    execute format('select array[%s] from pg_temp._ml_pca where x is not null',
      (
        select string_agg(format('%s(x[%s], x[%s])', case when use_correlation then 'corr' else 'covar_samp' end, i,
            j), ', ' order by i, j)
        from generate_series(v_from, v_to) as i
        cross join lateral generate_series(1, i) as j
      )
    ) into v_part;
    v_below := v_below || v_part;
    v_from := v_to + 1;
  end loop;
  drop table pg_temp._ml_pca;
  select *
  into v_eigen
  from ml._eigen((
    select array_agg(line order by i)
    from (
      select i, array_agg(v_below[greatest(i, j) * (greatest(i, j) - 1) / 2 + least(i, j)] order by j) as line
      from generate_series(1, v_size) as i
      cross join generate_series(1, v_size) as j
      group by i
    ) as filled
  ));
  v_total := (select sum(greatest(value, 0)) from unnest(v_eigen.eigenvalues) as value);
  v_components := case
    when components_param >= 1 then floor(components_param)::int
    else (
      select min(place)
      from (
        select place, sum(greatest(value, 0)) over (order by place) / v_total as reached
        from unnest(v_eigen.eigenvalues) with ordinality as entry (value, place)
      ) as running
      where reached >= components_param - 1e-12
    )
  end;
  execute format(
    'create table %s as
     select place as row_id, (select array_agg(($2)[place][j] order by j) from generate_series(1, %s) as j)
       as principal_components, sqrt(greatest(($1)[place], 0)) as std_dev,
         greatest(($1)[place], 0) / %L::float8 as proportion
     from generate_series(1, %s) as place',
    v_output, v_size, v_total, v_components
  ) using v_eigen.eigenvalues, v_eigen.eigenvectors;
  execute format(
    'create table %s as select %L::float8[] as column_mean, %L::float8[] as column_scale,
      %s::bigint as num_rows_processed, %s::bigint as num_missing_rows_skipped, %L::boolean as use_correlation',
    common.companion_table(v_output, '_mean'), v_mean, case when use_correlation then v_scale end, v_seen.row_count,
    v_seen.skipped, use_correlation
  );
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml.pca_train(text, text, text, float8, text, int, boolean, text) is $$
@behavior -*
Principal components of rows, in MADlib's columns.
The source has `row_id` and a column of arrays or vectors (`row_vec`, or the first such), or one column per dimension.
`components_param` is a number of components, or below 1 the share of the variance that they reach. With
`use_correlation` dimensions are scaled to unit variance. `lanczos_iter` is MADlib's and changes nothing, since the
decomposition is exact; `grouping_cols` and `result_summary_table` must be null.
Writes `out_table`: `row_id` (1 = largest), `principal_components` (unit length, largest entry positive), `std_dev`,
`proportion` of the variance; and `<out_table>_mean`: `column_mean`, `column_scale`, `num_rows_processed`,
`num_missing_rows_skipped`. Rows without a vector are left out.
Errors: CF001, CF002, CF003 (a table exists), CF004 (fewer than two rows, nothing varies), CF005, CF007 (a constant
has no correlation), CF008 (over 200 dimensions).
Source: Pearson, On lines and planes of closest fit, 1901; Jolliffe, Principal Component Analysis, 2002.
$$;

grant execute on function ml.pca_train(text, text, text, float8, text, int, boolean, text)
  to insights_analyst, insights_admin, insights_worker;
