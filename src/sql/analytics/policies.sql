/* The activity of people is read by the functions of insights_reader, and by admins. */

grant select on analytics.setting to insights_reader, insights_analyst, insights_admin, insights_worker;
grant update (smallest_group) on analytics.setting to insights_admin;
grant select on analytics.item_popularity to insights_reader;
grant select on analytics.course_summary to insights_reader;

drop policy if exists all_rows on analytics.setting;
create policy all_rows on analytics.setting for select using (true);
drop policy if exists admins_change on analytics.setting;
create policy admins_change on analytics.setting for update to insights_admin using (true);

grant select on analytics.prediction_target to insights_reader, insights_analyst, insights_admin, insights_worker;
grant update (horizon, longest_idle, weeks, fewest_rows) on analytics.prediction_target to insights_admin;
drop policy if exists all_rows on analytics.prediction_target;
create policy all_rows on analytics.prediction_target for select using (true);
drop policy if exists admins_change on analytics.prediction_target;
create policy admins_change on analytics.prediction_target for update to insights_admin using (true);

grant select on analytics.annotation
to insights_reader, insights_instructor, insights_analyst, insights_admin, insights_worker;
grant insert (kind, title, description, starts_at, ends_at, created_by), delete on analytics.annotation
to insights_analyst, insights_admin, insights_worker;
drop policy if exists all_rows on analytics.annotation;
create policy all_rows on analytics.annotation for select using (true);
drop policy if exists roles_write on analytics.annotation;
create policy roles_write on analytics.annotation for insert
to insights_analyst, insights_admin, insights_worker with check (created_by = common.author());
drop policy if exists authors_delete on analytics.annotation;
create policy authors_delete on analytics.annotation for delete
to insights_analyst using (created_by = common.author());
drop policy if exists admins_delete on analytics.annotation;
create policy admins_delete on analytics.annotation for delete
to insights_admin, insights_worker using (true);

grant select on analytics.intervention to insights_reader, insights_admin;
drop policy if exists all_rows on analytics.intervention;
create policy all_rows on analytics.intervention for select to insights_reader, insights_admin using (true);

grant select on analytics.trend_watch to insights_analyst, insights_admin, insights_worker;
grant insert (name, event_name, bucket, zone, measure, item, among, direction, season, history, threshold), delete
on analytics.trend_watch to insights_admin;
grant update (checked_at) on analytics.trend_watch to insights_admin, insights_worker;
drop policy if exists all_rows on analytics.trend_watch;
create policy all_rows on analytics.trend_watch for select using (true);
drop policy if exists admins_write on analytics.trend_watch;
create policy admins_write on analytics.trend_watch for insert to insights_admin with check (true);
drop policy if exists admins_delete on analytics.trend_watch;
create policy admins_delete on analytics.trend_watch for delete to insights_admin using (true);
drop policy if exists workers_update on analytics.trend_watch;
create policy workers_update on analytics.trend_watch for update to insights_admin, insights_worker using (true);

-- Exact figures of all people.
grant select, insert (name, bucket_start, figure, expected, lower_bound, upper_bound, score), delete
on analytics.trend_anomaly to insights_admin, insights_worker;
drop policy if exists admins_and_workers on analytics.trend_anomaly;
create policy admins_and_workers on analytics.trend_anomaly for all
to insights_admin, insights_worker using (true) with check (true);

grant select, delete on analytics.saved_query to insights_analyst, insights_admin, insights_worker;
grant insert (name, description, function_name, arguments, created_by),
  update (description, function_name, arguments, changed_at)
on analytics.saved_query to insights_analyst, insights_admin, insights_worker;
-- Analysts see, save and change queries of functions that they may execute only.
drop policy if exists queries_of_functions on analytics.saved_query;
create policy queries_of_functions on analytics.saved_query as restrictive for all
to insights_analyst using (
  exists (
    select
    from pg_catalog.pg_proc as procedure
    join pg_catalog.pg_namespace as namespace on namespace.oid = procedure.pronamespace
    where namespace.nspname = split_part(saved_query.function_name, '.', 1)
      and procedure.proname = split_part(saved_query.function_name, '.', 2)
      and has_function_privilege(procedure.oid, 'execute')
  )
);
drop policy if exists all_rows on analytics.saved_query;
create policy all_rows on analytics.saved_query for select
to insights_analyst, insights_admin, insights_worker using (true);
drop policy if exists roles_write on analytics.saved_query;
create policy roles_write on analytics.saved_query for insert
to insights_analyst, insights_admin, insights_worker with check (created_by = common.author());
drop policy if exists authors_change on analytics.saved_query;
create policy authors_change on analytics.saved_query for update
to insights_analyst using (created_by = common.author());
drop policy if exists admins_change on analytics.saved_query;
create policy admins_change on analytics.saved_query for update
to insights_admin, insights_worker using (true);
drop policy if exists authors_delete on analytics.saved_query;
create policy authors_delete on analytics.saved_query for delete
to insights_analyst using (created_by = common.author());
drop policy if exists admins_delete on analytics.saved_query;
create policy admins_delete on analytics.saved_query for delete
to insights_admin, insights_worker using (true);

grant select, delete on analytics.saved_view to insights_analyst, insights_admin;
grant insert (name, address, is_shared, board, board_position, created_by),
  update (name, address, is_shared, board, board_position, changed_at)
on analytics.saved_view to insights_analyst, insights_admin;
drop policy if exists own_and_shared on analytics.saved_view;
create policy own_and_shared on analytics.saved_view for select
to insights_analyst, insights_admin using (is_shared or created_by = common.author());
drop policy if exists authors_write on analytics.saved_view;
create policy authors_write on analytics.saved_view for insert
to insights_analyst, insights_admin with check (created_by = common.author());
drop policy if exists authors_change on analytics.saved_view;
create policy authors_change on analytics.saved_view for update
to insights_analyst using (created_by = common.author());
drop policy if exists admins_change on analytics.saved_view;
create policy admins_change on analytics.saved_view for update
to insights_admin using (is_shared or created_by = common.author())
with check (is_shared or created_by = common.author());
drop policy if exists authors_delete on analytics.saved_view;
create policy authors_delete on analytics.saved_view for delete
to insights_analyst using (created_by = common.author());
drop policy if exists admins_delete on analytics.saved_view;
create policy admins_delete on analytics.saved_view for delete
to insights_admin using (is_shared or created_by = common.author());

grant select on analytics.segment_setting to insights_reader, insights_analyst, insights_admin, insights_worker;
drop policy if exists all_rows on analytics.segment_setting;
create policy all_rows on analytics.segment_setting for select using (true);
grant select on analytics.cohort to insights_reader, insights_admin, insights_worker;
drop policy if exists all_rows on analytics.cohort;
create policy all_rows on analytics.cohort for select to insights_reader, insights_admin, insights_worker
using (true);

grant select on analytics.cluster_setting to insights_reader, insights_analyst, insights_admin, insights_worker;
drop policy if exists all_rows on analytics.cluster_setting;
create policy all_rows on analytics.cluster_setting for select using (true);
grant select on analytics.cluster_fit to insights_reader, insights_analyst, insights_admin, insights_worker;
drop policy if exists all_rows on analytics.cluster_fit;
create policy all_rows on analytics.cluster_fit for select using (true);
-- Exact figures and the clusters of people.
grant select on analytics.cluster, analytics.cluster_move, analytics.cluster_member to insights_reader, insights_admin;
drop policy if exists all_rows on analytics.cluster;
create policy all_rows on analytics.cluster for select to insights_reader, insights_admin using (true);
drop policy if exists all_rows on analytics.cluster_move;
create policy all_rows on analytics.cluster_move for select to insights_reader, insights_admin using (true);
drop policy if exists all_rows on analytics.cluster_member;
create policy all_rows on analytics.cluster_member for select to insights_reader, insights_admin using (true);
