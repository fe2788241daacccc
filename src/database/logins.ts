import type pg from "pg";
import { InsightsError, readOnlyHint } from "../errors.ts";

/*
 * Privileges of the logins of `insights api` and `insights worker` in schemas that other programs create: the queue of
 * graphile-worker and the list of migrations of graphile-migrate.
 */

/**
 * The schema of our job queue: not the usual `graphile_worker`, which an application may use itself, with another owner
 * and version.
 */
export const queueSchema = "insights_queue";

/**
 * Logins of workers, which are in `insights_queue`, get the privileges that graphile-worker requires; its tables have
 * row security without a policy. `insights_worker`, the role of `/healthz`, sees the jobs without their payload. Run
 * after graphile-worker's own migrations, as the owner of all objects; a statement runs only if a privilege is missing.
 */
const queueGrants = `
do $$
declare
  v_queue constant oid := 'insights_queue'::regnamespace;
  v_grant text;
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('insights: queue'));
  for v_grant in
    select pg_catalog.format('grant usage on schema insights_queue to %I', role)
    from (values ('insights_queue'), ('insights_worker')) as reader (role)
    where not pg_catalog.has_schema_privilege(role, v_queue, 'usage')
    union all
    select 'grant select on insights_queue.jobs to insights_worker'
    where not pg_catalog.has_table_privilege('insights_worker', 'insights_queue.jobs', 'select')
    union all
    select pg_catalog.format('grant %s on insights_queue.%I to insights_queue', rights, relname)
    from pg_catalog.pg_class
    cross join lateral (
      select case when relrowsecurity then 'select, insert, update, delete' else 'select' end as rights
    ) as needed
    where relnamespace = v_queue and relkind in ('r', 'v')
      and not pg_catalog.has_table_privilege('insights_queue', oid, 'select')
    union all
    select pg_catalog.format('create policy workers on insights_queue.%I to insights_queue using (true)', relname)
    from pg_catalog.pg_class
    where relnamespace = v_queue and relrowsecurity
      and not exists (select from pg_catalog.pg_policy where polrelid = pg_class.oid)
    union all
    select pg_catalog.format('grant execute on function %s to insights_queue', oid::regprocedure)
    from pg_catalog.pg_proc
    where pronamespace = v_queue and not pg_catalog.has_function_privilege('insights_queue', oid, 'execute')
  loop
    execute v_grant;
  end loop;
end;
$$`;

/** Grants the queue to the logins of workers; `owner` is signed in as the owner of all objects. */
export async function grantQueue(owner: Pick<pg.Pool, "query">): Promise<void> {
  await owner.query(queueGrants);
}

/** Lets `/healthz` and `insights doctor` read which migrations the database has. */
export const historyGrants = `
do $$
begin
  if not pg_catalog.has_schema_privilege('insights_worker', 'graphile_migrate', 'usage') then
    grant usage on schema graphile_migrate to insights_worker;
    grant select on graphile_migrate.migrations, graphile_migrate.current to insights_worker;
  end if;
end;
$$`;

/**
 * Refuses a database that has not been migrated, and a login that cannot serve the API; the hint contains the statement
 * that creates one.
 */
export async function checkApiLogin(client: Pick<pg.ClientBase, "query">): Promise<void> {
  const { rows } = await client.query<{ login: string; identifier: string; migrated: boolean; api: boolean }>(
    `select session_user::text as login, pg_catalog.quote_ident(session_user) as identifier,
       api.oid is not null and namespace.oid is not null as migrated,
       coalesce(pg_catalog.pg_has_role(session_user, api.oid, 'member'), false) as api
     from (values (1)) as always
     left join pg_catalog.pg_namespace as namespace on namespace.nspname = 'recommend'
     left join pg_catalog.pg_roles as api on api.rolname = 'insights_api'`,
  );
  const [found] = rows;
  if (found === undefined || (found.migrated && found.api)) return;
  if (!found.migrated) {
    throw new InsightsError("the database has not been migrated", { hint: "Run: insights migrate" });
  }
  throw new InsightsError(`the login "${found.login}" may not serve the API: it is not in the role insights_api`, {
    hint:
      "As an administrator, create a login for the API: create role my_api login password '…' in role insights_api. " +
      `Or use this login for both: grant insights_api to ${found.identifier}`,
  });
}

/** Refuses a login that lacks the privileges of a worker; the hint contains the statement that creates one. */
export async function checkWorkerLogin(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{
    login: string;
    identifier: string;
    version: number;
    migrated: boolean;
    queue: boolean;
    worker: boolean;
    read_only: boolean;
  }>(
    `select current_user::text as login, pg_catalog.quote_ident(current_user) as identifier,
       pg_catalog.current_setting('server_version_num')::int as version,
       namespace.oid is not null and worker.oid is not null as migrated,
       coalesce(pg_catalog.has_schema_privilege(namespace.oid, 'usage'), false) as queue,
       coalesce(pg_catalog.pg_has_role(worker.oid, 'member'), false) as worker,
       pg_catalog.current_setting('transaction_read_only')::boolean as read_only
     from (values (1)) as always
     left join pg_catalog.pg_namespace as namespace on namespace.nspname = '${queueSchema}'
     left join pg_catalog.pg_roles as worker on worker.rolname = 'insights_worker'`,
  );
  const [found] = rows;
  if (found === undefined) return;
  if (found.read_only)
    throw new InsightsError("the database is read-only, but a worker writes", { hint: readOnlyHint });
  if (found.queue && found.worker) return;
  if (!found.migrated) {
    throw new InsightsError("the database has no job queue", {
      hint: "The database has not been migrated. Run: insights migrate",
    });
  }
  const { identifier, version } = found;
  const grant =
    version >= 160_000
      ? `grant insights_queue to ${identifier} with inherit true`
      : `alter role ${identifier} inherit; grant insights_queue to ${identifier}`;
  throw new InsightsError(
    `the login "${found.login}" may not use the job queue: it does not have the rights of insights_queue`,
    {
      hint:
        "As an administrator, create a login for the worker: create role my_worker login password '…' in role insights_queue" +
        ` (without "noinherit"). Or use this login for both: ${grant}`,
    },
  );
}
