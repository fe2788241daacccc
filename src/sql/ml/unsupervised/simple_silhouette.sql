create or replace function ml.simple_silhouette(
  rel_source text,
  expr_point text,
  centroids float8[],
  fn_dist text default 'squared_dist_norm2'
)
returns float8
language plpgsql
stable
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_relation constant regclass := common.relation(rel_source);
  v_type constant regtype := common.expression_type(expr_point, v_relation, 'point');
  v_schema constant text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_mean float8[];
  v_distances text;
  v_silhouette float8;
begin
  if coalesce(array_ndims(centroids), 0) <> 2 or coalesce(array_length(centroids, 1), 0) not between 2 and 1000 then
    perform common.refuse('CF001', 'centroids are not a matrix of 2 to 1000 rows',
      'Give the centroids that ml.kmeanspp returns: one row per cluster.');
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
    execute format(
      'select avg(case when distances[2] > 0 then (distances[2] - distances[1]) / distances[2] else 0 end)
       from (
         select array(select distance from unnest(array[%1$s]) as distance order by distance limit 2) as distances
         from (
           select (select array_agg(value - mean order by place)
             from unnest(%2$s, %3$L::float8[]) with ordinality as entry (value, mean, place))::%4$s.vector as v
           from %5$s
           where (%6$s) is not null
           offset 0
         ) as point
         offset 0
       ) as measured',
      v_distances,
      case when v_type = to_regtype(v_schema || '.vector') then format('(%s)::real[]::float8[]', expr_point)
        else format('(%s)::float8[]', expr_point) end,
      v_mean, v_schema, v_relation, expr_point
    ) into v_silhouette;
  exception when data_exception or null_value_not_allowed or cannot_coerce then
    perform common.refuse('CF001', format('point "%s": %s', left(expr_point, 100), left(sqlerrm, 100)),
      format('Points are finite and have %s dimensions, as the centroids.', array_length(centroids, 2)));
  end;
  return v_silhouette;
end;
$$;

comment on function ml.simple_silhouette(text, text, float8[], text) is $$
@behavior -*
Returns the simplified silhouette of a clustering, as MADlib: how much closer the points are to their own centroid.
The mean over the points of (b - a) / b, where a is the distance to the nearest centroid and b that to the second
nearest, 0 where b is 0: from 0 to 1. `centroids` are those that ml.kmeanspp returns, `expr_point` an array or a vector.
Use the `fn_dist` of the clustering. Rows without a point are left out; null without rows.
Errors: CF001 (centroids, distance, dimensions, non-finite), CF002, CF005.
Source: Hruschka, Campello and de Castro, Evolving clusters in gene-expression data, Information Sciences 176, 2006.
$$;

grant execute on function ml.simple_silhouette(text, text, float8[], text)
to insights_analyst, insights_admin, insights_worker;
