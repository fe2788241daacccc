create or replace function analytics._match_clusters()
returns table (cluster_id int, name text, centroid float8[], means float8[], deviations float8[], people bigint[])
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_furthest constant float8 := 0.25;
  v_found int[];
  v_centroids float8[];
  v_known text[];
  v_assigned int[];
  v_costs float8[];
  v_words text[];
  v_given text[] := '{}';
  v_position int;
begin
  drop table if exists pg_temp._cluster_found;
  create temp table _cluster_found on commit drop as
  select
    averaged.cluster_id, null::text as name,
    array_agg(averaged.scaled order by averaged.position) as centroid,
    array_agg(averaged.feature order by averaged.position) as means,
    array_agg(averaged.point order by averaged.position) as deviations,
    array(
      select assigned.person_id from pg_temp._cluster_assigned as assigned
      where assigned.cluster_id = averaged.cluster_id order by assigned.person_id
    ) as people
  from (
    select
      assigned.cluster_id, entry.position,
      avg(entry.scaled) as scaled, avg(entry.feature) as feature, avg(entry.point) as point
    from pg_temp._cluster_assigned as assigned
    join pg_temp._cluster_point as point on point.person_id = assigned.person_id
    cross join lateral unnest(point.scaled, point.features, point.point) with ordinality
      as entry (scaled, feature, point, position)
    group by assigned.cluster_id, entry.position
  ) as averaged
  group by averaged.cluster_id;

  -- The mean squared distance between the centroids of now and those of the last fit, in standard deviations of now.
  -- Beyond the limit all pairs cost the same, so that one that cannot be matched changes no other.
  v_found := array(select found.cluster_id from pg_temp._cluster_found as found order by found.cluster_id);
  v_known := array(
    select cluster.name from analytics.cluster where cluster.retired_at is null order by cluster.name collate "C"
  );
  if v_found <> '{}' and v_known <> '{}' then
    with spread as (
      select entry.position, case when stddev_pop(entry.scaled) > 1e-6 then stddev_pop(entry.scaled) end as deviation
      from pg_temp._cluster_point as point
      cross join lateral unnest(point.scaled) with ordinality as entry (scaled, position)
      group by entry.position
    )

    select array_agg(by_found.costs order by by_found.cluster_id) into v_costs
    from (
      select
        distance.cluster_id,
        array_agg(least(distance.cost, v_furthest) order by distance.name collate "C") as costs
      from (
        select
          found.cluster_id, cluster.name,
          avg(coalesce(((entry.found - entry.known) / spread.deviation) ^ 2, 0)) as cost
        from pg_temp._cluster_found as found
        cross join analytics.cluster
        cross join lateral unnest(found.centroid, cluster.centroid) with ordinality as entry (found, known, position)
        join spread on spread.position = entry.position
        where cluster.retired_at is null
        group by found.cluster_id, cluster.name
      ) as distance
      group by distance.cluster_id
    ) as by_found;
    v_assigned := ml.optimal_assignment(v_costs);
    update pg_temp._cluster_found as found
    set name = v_known[v_assigned[array_position(v_found, found.cluster_id)]]
    where v_costs[array_position(v_found, found.cluster_id)][v_assigned[array_position(v_found, found.cluster_id)]]
      < v_furthest;
  end if;

  -- New names: the two most different features, further ones when the name is taken, and then a number.
  for v_position, v_words in
    select found.cluster_id, analytics._cluster_words(found.deviations)
    from pg_temp._cluster_found as found
    where found.name is null
    order by cardinality(found.people) desc, found.cluster_id
  loop
    update pg_temp._cluster_found as found
    set name = (
      select candidate.name
      from (
        select 1, words, 'cluster.' || coalesce(nullif(array_to_string(v_words[:words], '_'), ''), 'typical')
        from generate_series(2, greatest(2, cardinality(v_words))) as words
        union all
        select
          2, number,
          'cluster.' || coalesce(nullif(array_to_string(v_words[:2], '_'), ''), 'typical') || '_' || number
        from generate_series(2, 1000) as number
      ) as candidate (turn, place, name)
      where length(candidate.name) <= 100
        and not exists (select from pg_temp._cluster_found as other where other.name = candidate.name)
        -- The name of a retired cluster is used again, that of another set of people is not.
        and not exists (
          select from track.person_set
          where person_set.name = candidate.name
            and not exists (
              select from analytics.cluster
              where cluster.name = candidate.name
                and cluster.retired_at is not null
                and not cluster.is_named_by_hand
            )
        )
      order by candidate.turn, candidate.place
      limit 1
    )
    where found.cluster_id = v_position;
  end loop;
  return query
  select found.cluster_id, found.name, found.centroid, found.means, found.deviations, found.people
  from pg_temp._cluster_found as found
  order by found.name;
end;
$$;

comment on function analytics._match_clusters() is $$
Returns the clusters of a fit (`analytics._fit_behaviour`) with their names.
It leaves the temporary table `_cluster_found`, in which the people of large clusters are stored out of line.
A cluster has the name of that of the last fit to which it is assigned by their centroids (`ml.optimal_assignment`), at
a root mean square distance of less than half a standard deviation, and otherwise a name by its features.
$$;
