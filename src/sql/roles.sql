/*
 * The roles of the installation, which are shared by all databases of the cluster. Run by the login that migrates,
 * before the first migration. Idempotent, and safe when several databases of a cluster are installed concurrently.
 * The login must be a superuser or have CREATEROLE.
 */
do $$
declare
  v_role record;
  v_grant text := case
    when current_setting('server_version_num')::int >= 160000 then ' with inherit true, set true'
    else ''
  end;
begin
  -- An administrator runs this file: functions of other roles must not hide those of PostgreSQL.
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  for v_role in
    select *
    from (values
      (
        'insights_owner', 'nologin',
        'Canvas Flow Insights: owns every object, runs migrations and security definer functions.'
      ),
      ('insights_reader', 'nologin', 'Canvas Flow Insights: owns the functions that analysts call; may only select.'),
      ('insights_visitor', 'nologin', 'Canvas Flow Insights: anonymous caller of the API.'),
      ('insights_learner', 'nologin', 'Canvas Flow Insights: signed-in person, sees own data only.'),
      (
        'insights_instructor', 'nologin',
        'Canvas Flow Insights: signed-in person, sees own data and the learners of own courses.'
      ),
      ('insights_analyst', 'nologin', 'Canvas Flow Insights: aggregates, reports, models on what it may read.'),
      ('insights_admin', 'nologin', 'Canvas Flow Insights: people''s data and privacy requests.'),
      ('insights_worker', 'nologin', 'Canvas Flow Insights: scheduled refreshes and training.'),
      (
        'insights_api', 'nologin noinherit',
        'Canvas Flow Insights: group of the logins of the API, which switches to the role of each request.'
      ),
      (
        'insights_queue', 'nologin noinherit',
        'Canvas Flow Insights: group of the logins of workers, which may use the job queue.'
      )
    ) as role (name, attributes, description)
  loop
    if not exists (select from pg_catalog.pg_roles where rolname = v_role.name) then
      begin
        execute format('create role %I %s', v_role.name, v_role.attributes);
        execute format('comment on role %I is %L', v_role.name, v_role.description);
      exception
        -- A concurrent installation in the same cluster created the role first.
        when duplicate_object or unique_violation then null;
      end;
    end if;
  end loop;

  if not pg_catalog.pg_has_role('insights_api', 'insights_worker', 'member') then
    execute
      'grant insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker to insights_api';
  end if;
  -- Instructors do for themselves what learners do.
  if not pg_catalog.pg_has_role('insights_instructor', 'insights_learner', 'usage') then
    execute 'grant insights_learner to insights_instructor';
  end if;
  -- In earlier versions, insights_api had no such role.
  if not pg_catalog.pg_has_role('insights_api', 'insights_instructor', 'member') then
    execute 'grant insights_instructor to insights_api';
  end if;
  -- Without inheritance: a worker has the privileges of insights_worker only in transactions that set the role.
  if not pg_catalog.pg_has_role('insights_queue', 'insights_worker', 'member') then
    execute 'grant insights_worker to insights_queue';
  end if;
  if not pg_catalog.pg_has_role('insights_owner', 'insights_reader', 'usage') then
    execute 'grant insights_reader to insights_owner' || v_grant;
  end if;
  for v_role in
    select rolname as name
    from pg_catalog.pg_roles
    where rolname in ('insights_owner', 'insights_api') and not pg_catalog.pg_has_role(rolname, 'usage')
  loop
    execute format('grant %I to %I', v_role.name, current_user) || v_grant;
  end loop;
  -- A login that does not own the database needs an administrator for these grants, once.
  if pg_catalog.pg_has_role((select datdba from pg_catalog.pg_database where datname = current_database()), 'usage')
    or not pg_catalog.has_database_privilege('insights_owner', current_database(), 'create')
  then
    execute format('grant connect, create, temporary on database %I to insights_owner', current_database());
    execute format('grant connect on database %I to insights_api, insights_queue', current_database());
    -- Trainings create temporary tables as their callers. Many databases have revoked this privilege from public.
    execute format(
      'grant temporary on database %I to insights_analyst, insights_admin, insights_worker',
      current_database()
    );
  end if;
end;
$$;
