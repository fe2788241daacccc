create or replace function analytics._fit_behaviour(settings analytics.cluster_setting, seed bigint)
returns analytics.cluster_fit
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to warning
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set extra_float_digits to 1
set jit to off
as $$
declare
  -- More people do not move the centroids of a sample of this size noticeably.
  v_sample constant int := 20000;
  v_schema text;
  v_smallest constant int := greatest(5, (select setting.smallest_group from analytics.setting));
  v_fit analytics.cluster_fit;
  v_distinct int;
  v_centroids float8[];
  v_best float8;
  v_chosen int;
  v_dissolved int;
begin
  v_fit.fitted_at := now();
  v_fit.until := (now() at time zone 'UTC')::date;
  v_fit.since := v_fit.until - (settings).window_days;
  v_fit.seed := _fit_behaviour.seed;
  drop table if exists pg_temp._cluster_point, pg_temp._cluster_sample, pg_temp._cluster_tried,
    pg_temp._cluster_assigned;
  create temp table _cluster_point on commit drop as
  select behaviour.person_id, behaviour.features, null::float8[] as scaled, null::float8[] as point
  from analytics._behaviour(v_fit.since, v_fit.until) as behaviour;
  create temp table _cluster_assigned (person_id bigint, cluster_id int) on commit drop;
  v_schema := (select nspname from pg_catalog.pg_namespace where oid = pg_my_temp_schema());

  -- On its scale, within the percentiles 1 and 99 of all people (winsorized), and in standard deviations from the mean.
  with value as (
    select
      point.person_id, entry.position,
      case when feature.is_logarithmic then ln(1 + entry.value) else entry.value end as value
    from pg_temp._cluster_point as point
    cross join lateral unnest(point.features) with ordinality as entry (value, position)
    join analytics._behaviour_features() with ordinality
      as feature (feature, is_logarithmic, high_word, low_word, description, position)
      on feature.position = entry.position
  ),

  bound as (
    select
      value.position,
      percentile_disc(0.01) within group (order by value.value) as low,
      percentile_disc(0.99) within group (order by value.value) as high
    from value
    group by value.position
  ),

  bounded as materialized (
    select value.person_id, value.position, greatest(bound.low, least(bound.high, value.value)) as value
    from value
    join bound on bound.position = value.position
  ),

  spread as (
    -- Of a feature that all people share, the deviation is that of the rounding.
    select
      bounded.position, avg(bounded.value) as mean,
      case when stddev_pop(bounded.value) > 1e-6 then stddev_pop(bounded.value) end as deviation
    from bounded
    group by bounded.position
  ),

  placed as (
    select
      bounded.person_id,
      array_agg(bounded.value order by bounded.position) as scaled,
      -- Four digits: people who behave the same are the same point.
      array_agg(
        coalesce(round(((bounded.value - spread.mean) / spread.deviation)::numeric, 4)::float8, 0)
        order by bounded.position
      ) as point
    from bounded
    join spread on spread.position = bounded.position
    group by bounded.person_id
  )

  update pg_temp._cluster_point
  set scaled = placed.scaled, point = placed.point
  from placed
  where placed.person_id = _cluster_point.person_id;

  select count(*), count(distinct point.point) into v_fit.person_count, v_distinct from pg_temp._cluster_point as point;
  v_fit.tried := array(
    select number
    from (
      select generate_series(3, 8)
      union
      select (settings).cluster_count
    ) as candidate (number)
    where number < least(v_distinct, v_fit.person_count / v_smallest + 1)
    order by number
  );
  if cardinality(v_fit.tried) = 1 then
    v_fit.tried := array[2, v_fit.tried[1]];
  end if;
  if cardinality(v_fit.tried) < 2 then
    return null;
  end if;

  create temp table _cluster_sample on commit drop as
  select point.point
  from pg_temp._cluster_point as point
  order by hashint8extended(point.person_id, _fit_behaviour.seed)
  limit v_sample;
  -- The best of ten starts for each number of clusters.
  perform ml.kmeanspp_auto(
    'pg_temp._cluster_sample', v_schema || '._cluster_tried', 'point', v_fit.tried, seed => _fit_behaviour.seed
  );
  drop table pg_temp._cluster_sample, pg_temp._cluster_tried_summary;
  v_fit.silhouettes := array(select tried.silhouette from pg_temp._cluster_tried as tried order by tried.k);

  -- The given number, or the best; the present one stays unless another is clearly better, so that names stay.
  v_best := (select max(tried.silhouette) from pg_temp._cluster_tried as tried);
  select tried.k, tried.silhouette, tried.centroids into v_chosen, v_fit.silhouette, v_centroids
  from pg_temp._cluster_tried as tried
  order by
    tried.k is not distinct from (settings).cluster_count desc,
    case when (settings).cluster_count > tried.k then (settings).cluster_count - tried.k end,
    tried.k = (select count(*) from analytics.cluster where cluster.retired_at is null)
      and tried.silhouette >= v_best - 0.02 desc,
    tried.silhouette desc, tried.k
  limit 1;
  drop table pg_temp._cluster_tried;

  -- All people, also those who are not in the sample. Clusters of too few people are dissolved, the smallest first.
  loop
    drop table if exists pg_temp._cluster_assigned;
    perform ml.kmeans_predict(
      'pg_temp._cluster_point', v_schema || '._cluster_assigned', 'person_id', 'point', v_centroids
    );
    execute
      'select centroid.position
      from generate_series(1, $2) as centroid (position)
      left join (
        select assigned.cluster_id, count(*) as people from pg_temp._cluster_assigned as assigned group by 1
      ) as assigned on assigned.cluster_id = centroid.position
      where coalesce(assigned.people, 0) < $1
      order by coalesce(assigned.people, 0), centroid.position
      limit 1'
    into v_dissolved
    using v_smallest, array_length(v_centroids, 1);
    exit when v_dissolved is null;
    v_centroids := v_centroids[:v_dissolved - 1] || v_centroids[v_dissolved + 1:];
  end loop;
  v_fit.cluster_count := array_length(v_centroids, 1);
  return v_fit;
end;
$$;

comment on function analytics._fit_behaviour(analytics.cluster_setting, bigint) is $$
Clusters the people by their behaviour, into the temporary tables `_cluster_point` and `_cluster_assigned`.
The first has the features of each person, these on their scales within the percentiles 1 and 99, and as points in
standard deviations; the second her cluster. Returns the fit; null when there are too few people, or behaviours.
The best of three starts of k-means (`ml.kmeanspp_auto`) on at most 20,000 people, from the points and the seed alone:
nothing of former fits is read but their number of clusters.
$$;
