create or replace function ml._kmeans_run(
  points text,
  k int,
  fn_dist text,
  agg_centroid text,
  max_num_iterations int,
  min_frac_reassigned float8,
  seeding_sample_ratio float8,
  seed bigint,
  n_init int,
  out result ml.kmeans_result,
  out vectors text[]
)
language plpgsql
set jit to off
set client_min_messages to warning
as $$
declare
  -- Starts are tried on this many points; the best one is settled on all.
  v_most constant int := 20000;
  v_sampled text := 'true';
  v_kept text := 'true';
  v_rows bigint;
  v_tried record;
  v_best record;
  v_least float8;
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
  perform common.check_count('n_init', n_init, 1, 1000);
  if seeding_sample_ratio < 1 then
    v_kept := format('hashint8extended(key, %s) & 1048575 < %s', seed - 1, (1048576 * seeding_sample_ratio)::bigint);
  end if;
  execute format('select count(*) from %s as point', points) into v_rows;
  if n_init > 1 and v_rows > 1.5 * v_most then
    v_sampled := format('hashint8extended(key, %s) & 1048575 < %s', seed - 2, (1048576.0 * v_most / v_rows)::bigint);
  end if;

  for v_start in 0..n_init - 1 loop
    select settled.* into v_tried
    from ml._kmeans_settle(
      points, fn_dist, agg_centroid, max_num_iterations, min_frac_reassigned, v_sampled,
      ml._kmeans_start(
        points, k, fn_dist, case when n_init = 1 then v_kept else v_kept || ' and ' || v_sampled end,
        seed + v_start * 1000003, seeding_sample_ratio is not null
      )
    ) as settled;
    if v_start = 0 or v_tried.objective_fn < v_least then
      v_best := v_tried;
      v_least := v_tried.objective_fn;
    end if;
    exit when k = 1;
  end loop;
  if v_sampled <> 'true' then
    select settled.* into v_best
    from ml._kmeans_settle(points, fn_dist, agg_centroid, max_num_iterations, min_frac_reassigned, 'true',
      v_best.centroids) as settled;
  end if;

  vectors := v_best.centroids;
  result.num_iterations := v_best.num_iterations;
  result.frac_reassigned := v_best.frac_reassigned;
  execute format(
    $query$
    with assigned as materialized (
      select point, array_position(array[%1$s], least(%1$s)) as cluster, least(%1$s) as nearest
      from %2$s as point
    ), centre as (
      select cluster, array_agg(mean order by place) as centroid
      from (
        select cluster, place, avg(value) as mean
        from assigned
        cross join lateral unnest(point) with ordinality as entry (value, place)
        where cluster is not null
        group by cluster, place
      ) as averaged
      group by cluster
    ), spread as (
      select cluster, sum(nearest) as total
      from assigned
      where cluster is not null
      group by cluster
    )
    select array_agg(centroid order by cluster), array_agg(total order by cluster), sum(total)
    from centre
    join spread using (cluster)
    $query$,
    ml._kmeans_distances(fn_dist, vectors), points
  ) into result.centroids, result.cluster_variance, result.objective_fn;
end;
$$;

comment on function ml._kmeans_run(text, int, text, text, int, float8, float8, bigint, int) is $$
Runs k-means from several starts on the points of a relation (see ml._kmeans_points) and returns the best.
`vectors` are the centroids as they are compared with the column v.
The starts are those of k-means++, or random points if `seeding_sample_ratio` is null.
$$;

grant execute on function ml._kmeans_run(text, int, text, text, int, float8, float8, bigint, int)
  to insights_analyst, insights_admin, insights_worker;
