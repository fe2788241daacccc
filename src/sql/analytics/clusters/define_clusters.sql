create or replace function analytics.define_clusters(
  window_days int default 28, cluster_count int default null, refit_days int default 7
)
returns setof analytics.cluster_setting
language plpgsql
volatile
-- A definer: it writes the settings, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform common.check_count('window_days', define_clusters.window_days, 7, 366);
  perform common.check_count('refit_days', define_clusters.refit_days, 1, 366);
  if define_clusters.cluster_count is not null then
    perform common.check_count('cluster_count', define_clusters.cluster_count, 2, 20);
  end if;
  return query
  update analytics.cluster_setting
  set
    window_days = define_clusters.window_days,
    cluster_count = define_clusters.cluster_count,
    refit_days = define_clusters.refit_days,
    is_marked = true
  returning cluster_setting.*;
end;
$$;

comment on function analytics.define_clusters(int, int, int) is $$
Changes the settings of the clusters of behaviour, which the next run of the task `fit_clusters` applies.
`window_days`: complete days (UTC) of behaviour before a fit. `cluster_count`: the number of clusters, 2 to 20; null:
the number from 3 to 8 with the best silhouette. `refit_days`: days after which the task fits the clusters again.
Returns the settings. Errors: CF001 for other values.
$$;

grant execute on function analytics.define_clusters(int, int, int) to insights_admin;
