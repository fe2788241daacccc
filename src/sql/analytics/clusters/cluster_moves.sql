/* A definer owned by insights_reader: it reads figures about groups of people, and returns those its caller may see. */
create or replace function analytics.cluster_moves(
  since timestamptz default (now() at time zone 'UTC' - interval '400 days') at time zone 'UTC',
  until timestamptz default now()
)
returns setof analytics.cluster_change
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
  perform common.check_period(cluster_moves.since, cluster_moves.until);
  return query
  with shown as (
    select
      move.fitted_at, nullif(split_part(move.from_cluster, '.', 2), '') as from_cluster,
      nullif(split_part(move.to_cluster, '.', 2), '') as to_cluster,
      analytics._shown(move.person_count, move.person_count, v_smallest_group)::bigint as person_count
    from analytics.cluster_move as move
    where move.fitted_at >= cluster_moves.since
      and move.fitted_at <= cluster_moves.until
  )

  select
    shown.fitted_at, shown.from_cluster, shown.to_cluster, shown.person_count,
    case when shown.from_cluster is not null then
      shown.person_count / (sum(shown.person_count) over (partition by shown.fitted_at, shown.from_cluster))::float8
    end
  from shown
  where shown.person_count > 0
  order by shown.fitted_at, shown.from_cluster collate "C", shown.to_cluster collate "C";
end;
$$;

alter function analytics.cluster_moves(timestamptz, timestamptz) owner to insights_reader;

comment on function analytics.cluster_moves(timestamptz, timestamptz) is $$
Returns how many people moved between clusters of behaviour from one fit to the next.
Of the fits in the period. Exact for admins and workers. Analysts see numbers rounded by `analytics._shown`, without
those of too few people; shares are computed from the numbers as shown. Errors: CF001 for an invalid period.
$$;

grant execute on function analytics.cluster_moves(timestamptz, timestamptz)
to insights_analyst, insights_admin, insights_worker;
