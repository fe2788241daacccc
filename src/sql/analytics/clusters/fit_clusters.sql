/* A definer: it reads the activity of all people and writes sets, and is granted to administrators and workers. */
create or replace function analytics.fit_clusters(seed bigint default 0)
returns setof analytics.cluster_fit
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to warning
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  -- Retired clusters keep their names, so that what names them finds an empty set.
  v_most_retired constant int := 40;
  v_settings analytics.cluster_setting;
  v_fit analytics.cluster_fit;
  v_cluster record;
  v_names text[] := '{}';
begin
  if fit_clusters.seed is null then
    perform common.refuse('CF001', 'seed is null', 'Give a number: the same seed and data give the same clusters.');
  end if;
  perform common.check_count('seed', fit_clusters.seed, -1000000000000000, 1000000000000000);
  -- One fit, or change of a name, at a time.
  perform pg_advisory_xact_lock(hashtext('analytics.cluster'));
  -- At first: an erasure from now on waits for the end of this fit, and marks the next one.
  update analytics.cluster_setting
  set is_marked = false, tried_at = now()
  returning * into v_settings;
  v_fit := analytics._fit_behaviour(v_settings, fit_clusters.seed);
  if v_fit.fitted_at is not null then
    insert into analytics.cluster_fit select v_fit.*
    on conflict on constraint cluster_fit_pkey do nothing;
  end if;

  drop table if exists pg_temp._cluster_before;
  create temp table _cluster_before on commit drop as
  select cluster_member.identity_id as person_id, cluster_member.name
  from analytics.cluster_member
  join track.person on person.person_id = cluster_member.identity_id;
  delete from analytics.cluster_member;

  for v_cluster in select * from analytics._match_clusters() loop
    v_names := v_names || v_cluster.name;
    if not exists (select from analytics.cluster where cluster.name = v_cluster.name and cluster.is_named_by_hand) then
      perform track.define_person_set(
        v_cluster.name, analytics._cluster_text(v_cluster.deviations), 'analytics.cluster_members',
        queue_people => false
      );
    end if;
    insert into analytics.cluster (name, centroid, means, deviations, person_count)
    values (
      v_cluster.name, v_cluster.centroid, v_cluster.means, v_cluster.deviations, cardinality(v_cluster.people)
    )
    on conflict on constraint cluster_pkey do update
    set
      centroid = excluded.centroid, means = excluded.means, deviations = excluded.deviations,
      person_count = excluded.person_count, retired_at = null;
    insert into analytics.cluster_member (identity_id, name)
    select entry.person_id, v_cluster.name
    from unnest(v_cluster.people) as entry (person_id);
  end loop;
  update analytics.cluster
  set centroid = null, means = null, deviations = null, person_count = null, retired_at = now()
  where cluster.retired_at is null
    and cluster.name <> all (v_names);

  if v_fit.fitted_at is not null then
    insert into analytics.cluster_move (fitted_at, from_cluster, to_cluster, person_count)
    select v_fit.fitted_at, coalesce(former.name, ''), coalesce(member.name, ''), count(*)
    from pg_temp._cluster_before as former
    full join analytics.cluster_member as member on member.identity_id = former.person_id
    group by 2, 3
    on conflict on constraint cluster_move_pkey do nothing;
  end if;

  perform track.move_people(
    cluster.name,
    array(select member.identity_id from analytics.cluster_member as member where member.name = cluster.name),
    array(
      select former.person_id
      from track.person_set_members(cluster.name) as former (person_id)
      where not exists (
        select from analytics.cluster_member as member
        where member.identity_id = former.person_id
          and member.name = cluster.name
      )
    )
  )
  from analytics.cluster
  order by cluster.name;
  perform track.undefine_person_set(retired.name)
  from (
    select cluster.name
    from analytics.cluster
    where cluster.retired_at is not null
    order by cluster.retired_at desc, cluster.name
    offset v_most_retired
  ) as retired
  where not exists (
    select from analytics.cohort where retired.name in (select analytics._rule_sets(cohort.rule))
  );
  drop table pg_temp._cluster_before, pg_temp._cluster_found, pg_temp._cluster_point, pg_temp._cluster_assigned;
  if v_fit.fitted_at is not null then
    return next v_fit;
  end if;
end;
$$;

comment on function analytics.fit_clusters(bigint) is $$
Clusters the people by their behaviour with k-means, and makes each cluster a set of people (`cluster.night`).
People are those in the set `counted` who were active in the period of `analytics.define_clusters`, without those who
have opted out of `analytics`; each is in one cluster. Their features (`analytics.cluster_features` describes
them) are limited to the percentiles 1 and 99 and standardized. The number of clusters is the given one, or that from 3
to 8 with the best simplified silhouette of squared distances (Hruschka, Campello and de Castro, 2004), the present one
unless another is better by 0.02; fewer when there are fewer different behaviours. A cluster of fewer than 5 people, or
than `analytics.setting.smallest_group`, is dissolved: its people are in the nearest one.
Names stay: clusters are assigned to those of the last fit by their centroids (`ml.optimal_assignment`), and a cluster
at less than half a standard deviation (root mean square over the features) keeps the name. New clusters are named by
the features in which they differ most. A cluster that is not found any more is retired: its set is empty.
The same behaviour and `seed` give the same clusters; nothing of former fits is used but the number and the names, so
that no erased person is in a later fit. Returns the fit, and no row when there are too few people: all clusters are
then retired. Errors: CF001 for an invalid `seed`.
$$;

grant execute on function analytics.fit_clusters(bigint) to insights_admin, insights_worker;
