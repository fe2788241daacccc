/* A definer owned by insights_reader: it reads figures about groups of people, and returns those its caller may see. */
create or replace function analytics.cluster_history(
  since timestamptz default (now() at time zone 'UTC' - interval '400 days') at time zone 'UTC',
  until timestamptz default now()
)
returns setof analytics.cluster_size
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_smallest_group constant int := case
    when not track.reads_all_people() then (select setting.smallest_group from analytics.setting)
  end;
begin
  perform common.check_period(cluster_history.since, cluster_history.until);
  return query
  select
    size.fitted_at, split_part(size.name, '.', 2),
    analytics._shown(size.person_count, size.person_count, v_smallest_group)::bigint, size.silhouette
  from (
    select
      cluster_fit.fitted_at, cluster_fit.silhouette, move.to_cluster as name,
      sum(move.person_count) as person_count
    from analytics.cluster_fit
    join analytics.cluster_move as move using (fitted_at)
    where cluster_fit.fitted_at >= cluster_history.since
      and cluster_fit.fitted_at <= cluster_history.until
      and move.to_cluster <> ''
    group by cluster_fit.fitted_at, move.to_cluster
  ) as size
  order by size.fitted_at, size.name collate "C";
end;
$$;

alter function analytics.cluster_history(timestamptz, timestamptz) owner to insights_reader;

comment on function analytics.cluster_history(timestamptz, timestamptz) is $$
Returns the sizes of the clusters of behaviour in the fits of a period.
Exact for admins and workers; analysts see numbers rounded by `analytics._shown`. Errors: CF001 for an invalid period.
$$;

grant execute on function analytics.cluster_history(timestamptz, timestamptz)
to insights_analyst, insights_admin, insights_worker;
