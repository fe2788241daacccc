create or replace function ml.kmeans_predict(
  rel_source text,
  output_table text,
  id_col_name text,
  expr_point text,
  centroids float8[],
  fn_dist text default 'squared_dist_norm2'
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
  v_relation regclass := common.relation(rel_source);
  v_output text := common.output_table(output_table);
  v_id text := common.column_name(v_relation, id_col_name, 'id column');
  v_expression constant text := common.expression(expr_point, v_relation);
  v_type regtype := common.expression_type(expr_point, v_relation, 'point');
  v_schema text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_distances text;
  v_mean float8[];
  v_point text := case
    when v_type = to_regtype(v_schema || '.vector') then format('(%s)::real[]::float8[]', v_expression)
      else format('(%s)::float8[]', v_expression) end;
begin
  if coalesce(array_ndims(centroids), 0) <> 2 then
    perform common.refuse('CF001', 'centroids are not a matrix',
      'Give the centroids that ml.kmeanspp returns: one row per cluster.');
  elsif exists (select from unnest(centroids) as value where (abs(value) < 1e150) is not true) then
    perform common.refuse('CF001', 'a centroid is null, not finite or above 1e150',
      'Give the centroids that ml.kmeanspp returns, of finite numbers.');
  end if;
  -- Moved to the mean of the centroids, for the sake of single precision; angles are measured from the origin.
  v_mean := array(
    select case when fn_dist ~ 'angle' then 0 else avg(centroids[cluster][place]) end
    from generate_series(1, array_length(centroids, 2)) as place
    cross join generate_series(1, array_length(centroids, 1)) as cluster
    group by place
    order by place
  );
  v_distances := ml._kmeans_distances(fn_dist, array(
    select '[' || string_agg((centroids[cluster][place] - v_mean[place])::text, ',' order by place) || ']'
    from generate_series(1, array_length(centroids, 1)) as cluster
    cross join generate_series(1, array_length(centroids, 2)) as place
    group by cluster
    order by cluster
  ));
  begin
    perform ml._create_table(format(
      'create table %1$s as
       select id as %2$s, array_position(distances, nearest) as cluster_id, nearest as distance
       from (
         select id, array[%3$s] as distances, least(%3$s) as nearest
         from (
           select %2$s as id, (select array_agg(value - mean order by place)
             from unnest(%4$s, %5$L::float8[]) with ordinality as entry (value, mean, place))::%6$s.vector as v
           from %7$s
           where (%8$s) is not null
           offset 0
         ) as point
         offset 0
       ) as measured',
      v_output, v_id, v_distances, v_point, v_mean, v_schema, v_relation, v_expression
    ));
  exception when data_exception or null_value_not_allowed or cannot_coerce then
    perform common.refuse('CF001', format('point "%s": %s', left(expr_point, 100), left(sqlerrm, 100)),
      format('Points are finite and have %s dimensions, as the centroids.', array_length(centroids, 2)));
  end;
end;
$$;

comment on function ml.kmeans_predict(text, text, text, text, float8[], text) is $$
@behavior -*
The nearest centroid of each point.
`centroids` are those that ml.kmeanspp returns (k × dimension), `expr_point` an array or a vector.
Writes `output_table`: the id column, `cluster_id` (1..k, the row in `centroids`) and `distance` (by `fn_dist`). Rows
without a point are left out.
Errors: CF001 (centroids, distance, dimensions, non-finite), CF002, CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.kmeans_predict(text, text, text, text, float8[], text)
  to insights_analyst, insights_admin, insights_worker;
