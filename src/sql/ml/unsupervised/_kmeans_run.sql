create or replace function ml._kmeans_run(
  k int,
  fn_dist text,
  agg_centroid text,
  max_num_iterations int,
  min_frac_reassigned float8,
  seeding_sample_ratio float8,
  seed bigint
)
returns ml.kmeans_result
language plpgsql
set search_path to pg_catalog, pg_temp
set jit to off
set client_min_messages to warning
as $$
declare
  v_schema text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_centroids text[];
  v_before text[];
  v_next text;
  v_distances text;
  v_assigned text;
  v_row record;
  v_moved bigint;
  v_total bigint;
  v_result ml.kmeans_result;
begin
  if k is null or k not between 1 and 1000 then
    perform common.refuse('CF001', format('k %s', coalesce(k::text, 'null')), 'Choose 1 to 1000 clusters.');
  elsif max_num_iterations is null or max_num_iterations < 1 then
    perform common.refuse('CF001', format('max_num_iterations %s', coalesce(max_num_iterations::text, 'null')),
      'Choose 1 or more.');
  elsif min_frac_reassigned is null or not (min_frac_reassigned >= 0 and min_frac_reassigned <= 1) then
    perform common.refuse('CF001', format('min_frac_reassigned %s', coalesce(min_frac_reassigned::text, 'null')),
      'Choose a share in 0..1.');
  elsif not (seeding_sample_ratio > 0 and seeding_sample_ratio <= 1) then
    perform common.refuse('CF001', format('seeding_sample_ratio %s', coalesce(seeding_sample_ratio::text, 'null')),
      'Choose a share above 0, at most 1.');
  elsif agg_centroid is null or regexp_replace(agg_centroid, '^(madlib|ml)\.', '') not in ('avg', 'normalized_avg') then
    perform common.refuse('CF001', format('there is no centroid "%s"', coalesce(left(agg_centroid, 100), 'null')),
      'Choose avg or normalized_avg.');
  end if;
  if seed is not null then
    perform common.check_count('seed', seed, -1000000000000000000, 1000000000000000000);
  end if;
  -- k-means++: the next seed is drawn with a chance in proportion to the distance from the nearest one, as the winner
  -- of a race of exponentials. Random seeds have the same chance each.
  execute 'select array[v::text] from pg_temp._ml_point order by key, point limit 1' into v_centroids;
  while cardinality(v_centroids) < k loop
    execute format(
      'select v::text from (
         select v, key, point,
           least(%s) as distance, ((hashint8extended(key, %s) >> 11) + 4503599627370496.5) / 9007199254740992.0 as lot
         from pg_temp._ml_point
         where %s offset 0
       ) as race
       where distance > 1e-12
       order by -ln(lot) / %s, point limit 1',
      ml._kmeans_distances(fn_dist, v_centroids), seed + cardinality(v_centroids),
      case when seeding_sample_ratio < 1 then format('hashint8extended(key, %s) & 1048575 < %s',
        seed - 1, (1048576 * seeding_sample_ratio)::bigint) else 'true' end,
      case when seeding_sample_ratio is null then '1' else 'distance' end
    ) into v_next;
    if v_next is null then
      perform common.refuse('CF004', format('%s distinct points do not make %s clusters', cardinality(v_centroids), k),
        'Choose fewer clusters.');
    end if;
    v_centroids := v_centroids || v_next;
  end loop;

  v_result.num_iterations := 0;
  loop
    v_distances := ml._kmeans_distances(fn_dist, v_centroids);
    v_assigned := format('array_position(array[%1$s], least(%1$s))', v_distances);
    exit when v_result.num_iterations >= max_num_iterations or v_result.frac_reassigned < min_frac_reassigned
      or v_result.frac_reassigned = 0;
    v_before := v_centroids;
    v_moved := 0;
    v_total := 0;
    for v_row in execute format(
      'select cluster, %s as centroid, count(*) as row_count, %s as moved
       from (select v, %s as cluster, %s as before from pg_temp._ml_point offset 0) as assigned
       group by cluster',
      case when agg_centroid ~ 'normalized_avg$' then format('%1$s.l2_normalize(%1$s.avg(v))::text', v_schema)
        else format('%s.avg(v)::text', v_schema) end,
      case when v_result.num_iterations = 0 then 'count(*)'
        else 'count(*) filter (where cluster is distinct from before)' end,
      v_assigned, case when v_result.num_iterations = 0 then 'null::int' else v_next end
    ) loop
      v_centroids[v_row.cluster] := v_row.centroid;
      v_moved := v_moved + v_row.moved;
      v_total := v_total + v_row.row_count;
    end loop;
    v_next := v_assigned;
    v_result.num_iterations := v_result.num_iterations + 1;
    v_result.frac_reassigned := v_moved::float8 / v_total;
  end loop;

  drop table if exists pg_temp._ml_assigned;
  execute format(
    'create temp table _ml_assigned on commit drop as select point, array_position(distances, nearest) as cluster,
      nearest,
       (select min(distance) from unnest(distances) with ordinality as other (distance, place)
         where place <> array_position(distances, nearest)) as second
     from (select point, array[%1$s] as distances, least(%1$s) as nearest from pg_temp._ml_point offset 0) as measured',
    v_distances
  );
  select
    array_agg(centre.centroid order by cluster.place),
    array_agg(coalesce(spread.total, 0) order by cluster.place)
  into v_result.centroids, v_result.cluster_variance
  from generate_series(1, k) as cluster (place)
  left join (
    select cluster, array_agg(mean order by place) as centroid
    from (
      select cluster, place, avg(value) as mean
      from pg_temp._ml_assigned
      cross join lateral unnest(point) with ordinality as entry (value, place)
      group by cluster, place
    ) as averaged
    group by cluster
  ) as centre on centre.cluster = cluster.place
  join (
    select cluster, sum(nearest) as total
    from pg_temp._ml_assigned
    group by cluster
  ) as spread on spread.cluster = cluster.place;
  v_result.objective_fn := (select sum(nearest) from pg_temp._ml_assigned);
  return v_result;
end;
$$;

comment on function ml._kmeans_run(int, text, text, int, float8, float8, bigint) is $$
Runs k-means on the points in `_ml_point`, from k-means++ seeds, or random ones if `seeding_sample_ratio` is null.
The assignment of the points is left in `_ml_assigned` (point, cluster, distance to the nearest and second nearest
centroid).
$$;

grant execute on function ml._kmeans_run(int, text, text, int, float8, float8, bigint)
  to insights_analyst, insights_admin, insights_worker;
