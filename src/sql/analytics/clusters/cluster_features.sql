/* A definer owned by insights_reader: it reads figures about groups of people, and returns those its caller may see. */
create or replace function analytics.cluster_features()
returns setof analytics.cluster_feature
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set extra_float_digits to 1
as $$
declare
  v_smallest_group constant int := case
    when not track.reads_all_people() then (select setting.smallest_group from analytics.setting)
  end;
begin
  return query
  select
    split_part(cluster.name, '.', 2), feature.feature, feature.description,
    analytics._shown_mean(entry.mean, cluster.person_count, v_smallest_group),
    -- To the precision of a mean of 1: that many people at a distance of one standard deviation.
    analytics._shown_mean(entry.deviation, cluster.person_count, v_smallest_group, 1)
  from analytics.cluster
  cross join lateral unnest(cluster.means, cluster.deviations) with ordinality as entry (mean, deviation, position)
  join analytics._behaviour_features() with ordinality
    as feature (feature, is_logarithmic, high_word, low_word, description, position)
    on feature.position = entry.position
  where cluster.retired_at is null
  order by cluster.name collate "C", abs(entry.deviation) desc, entry.position;
end;
$$;

alter function analytics.cluster_features() owner to insights_reader;

comment on function analytics.cluster_features() is $$
Returns the features of each cluster of behaviour in the last fit, the most different first.
Means are of the values as they are; deviations of the values on their scales (counts and times: ln(1 + value)), within
the percentiles 1 and 99. Exact for admins and workers; analysts see figures rounded by `analytics._shown_mean`, and
no deviation of clusters of fewer than 4.5 times `smallest_group` people.
$$;

grant execute on function analytics.cluster_features() to insights_analyst, insights_admin, insights_worker;
