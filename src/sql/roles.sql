/*
 * The roles of the installation, once for the whole cluster: run by the login that migrates, before the first migration.
 * Idempotent, and safe when several databases of a cluster install at the same time.
 * The login needs to be a superuser or to have CREATEROLE.
 */
do $$
declare
  v_role record;
  v_grant text := case when current_setting('server_version_num')::int >= 160000 then ' with inherit true, set true' else '' end;
begin
  for v_role in
    select *
    from (values
      ('insights_owner', 'nologin', 'Canvas Flow Insights: owns every object, runs migrations and security definer functions.'),
      ('insights_reader', 'nologin', 'Canvas Flow Insights: owns the functions that analysts call; may only select.'),
      ('insights_visitor', 'nologin', 'Canvas Flow Insights: anonymous caller of the API.'),
      ('insights_learner', 'nologin', 'Canvas Flow Insights: signed-in person, sees own data only.'),
      ('insights_analyst', 'nologin', 'Canvas Flow Insights: aggregates and reports.'),
      ('insights_admin', 'nologin', 'Canvas Flow Insights: people''s data and privacy requests.'),
      ('insights_worker', 'nologin', 'Canvas Flow Insights: scheduled refreshes and training.'),
      ('insights_api', 'login noinherit', 'Canvas Flow Insights: login of the API server, switches to the role of each request.')
    ) as role (name, attributes, description)
  loop
    if not exists (select from pg_catalog.pg_roles where rolname = v_role.name) then
      begin
        execute format('create role %I %s', v_role.name, v_role.attributes);
        execute format('comment on role %I is %L', v_role.name, v_role.description);
      exception
        -- Another installation of the same cluster was quicker.
        when duplicate_object or unique_violation then null;
      end;
    end if;
  end loop;

  if not pg_catalog.pg_has_role('insights_api', 'insights_worker', 'member') then
    execute 'grant insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker to insights_api';
  end if;
  if not pg_catalog.pg_has_role('insights_owner', 'insights_reader', 'usage') then
    execute 'grant insights_reader to insights_owner' || v_grant;
  end if;
  if not (select rolsuper from pg_catalog.pg_roles where rolname = current_user) then
    execute format('grant insights_owner, insights_api to %I', current_user) || v_grant;
  end if;
  execute format('grant connect, create, temporary on database %I to insights_owner', current_database());
  execute format('grant connect on database %I to insights_api', current_database());
  -- Trainings write temporary tables, as their callers. Many databases have revoked this right from public.
  execute format('grant temporary on database %I to insights_analyst, insights_admin, insights_worker', current_database());
end;
$$;
