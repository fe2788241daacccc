/*
 * The distance of two points is measured, not of a point and a centroid, so the time grows with the square of the
 * number of points: of more than 2,000 a sample is compared, as with scikit-learn's sample_size.
 */
create or replace function ml._silhouette(points text, fn_dist text, vectors text[], seed bigint)
returns float8
language plpgsql
set jit to off
as $$
declare
  v_schema text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_silhouette float8;
begin
  execute format(
    $query$
    with sampled as materialized (
      select row_number() over () as place, v, array_position(array[%1$s], least(%1$s)) as cluster
      from (
        select v
        from %2$s as point
        order by hashint8extended(key, %3$s), key, point
        limit 2000
      ) as drawn
    ), distance as (
      select one.place, one.cluster, other.cluster as other_cluster,
        sum(%4$s) / nullif(count(*) - (one.cluster = other.cluster)::int, 0) as mean
      from sampled as one
      cross join sampled as other
      group by one.place, one.cluster, other.cluster
    ), compared as (
      select place,
        min(mean) filter (where other_cluster = cluster) as within,
        min(mean) filter (where other_cluster <> cluster) as beyond
      from distance
      group by place
    )
    -- The only point of a cluster counts as 0.
    select case when count(beyond) > 0
      then avg(coalesce((beyond - within) / nullif(greatest(beyond, within), 0), 0)) end
    from compared
    $query$,
    ml._kmeans_distances(fn_dist, vectors), points, seed,
    format(
      case
        when fn_dist ~ 'norm1$' then '(one.v operator(%1$s.<+>) other.v)'
        when fn_dist ~ 'angle$' then 'acos(greatest(-1, least(1, 1 - (one.v operator(%1$s.<=>) other.v))))'
        else '(one.v operator(%1$s.<->) other.v)'
      end,
      v_schema
    )
  ) into v_silhouette;
  return v_silhouette;
end;
$$;

comment on function ml._silhouette(text, text, text[], bigint) is $$
The silhouette of a clustering, as scikit-learn's silhouette_score defines it, of up to 2,000 points.
The mean of (b − a) / max(a, b): a is the mean distance of a point to the others of its cluster, b to those of the
nearest other cluster. Distances are Euclidean for squared_dist_norm2, too. Null with one cluster.
$$;

grant execute on function ml._silhouette(text, text, text[], bigint)
  to insights_analyst, insights_admin, insights_worker;
