/* A definer owned by insights_reader: it reads sets of people, and returns figures that its caller may see. */
create or replace function analytics.clusters()
returns setof analytics.behaviour_cluster
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_smallest_group constant int := case
    when not track.reads_all_people() then (select setting.smallest_group from analytics.setting)
  end;
begin
  return query
  with everyone as materialized (
    select member.block, member.people from analytics._members(null, v_smallest_group) as member
  ),

  shown as (
    select
      cluster.name, person_set.description, cluster.is_named_by_hand,
      analytics._shown(size.person_count, size.person_count, v_smallest_group)::bigint as person_count
    from analytics.cluster
    join track.person_set using (name)
    cross join lateral (
      select coalesce(sum(bit_count(members.people & everyone.people)), 0)::bigint as person_count
      from track.person_set_blocks(cluster.name) as members
      join everyone on everyone.block = members.block
    ) as size
    where cluster.retired_at is null
  )

  select
    split_part(shown.name, '.', 2), shown.description, shown.person_count,
    shown.person_count / nullif(sum(shown.person_count) over (), 0)::float8,
    fit.silhouette, fit.fitted_at, shown.is_named_by_hand
  from shown
  cross join (
    select cluster_fit.silhouette, cluster_fit.fitted_at
    from analytics.cluster_fit
    order by cluster_fit.fitted_at desc
    limit 1
  ) as fit
  order by shown.person_count desc, shown.name collate "C";
end;
$$;

alter function analytics.clusters() owner to insights_reader;

comment on function analytics.clusters() is $$
Returns the clusters of behaviour with their sizes, the largest first: see `analytics.fit_clusters`.
A cluster `night` is the set of people `cluster.night`: a filter (`among => 'cluster.night'`) and, with the others, a
breakdown (`breakdown => 'set.cluster'`) of all functions. For admins and workers, numbers are exact, of people who are
not excluded; analysts see numbers of counted people, rounded by `analytics._shown`. People who became active after the
fit are in no cluster until the next one.
$$;

grant execute on function analytics.clusters() to insights_analyst, insights_admin, insights_worker;
