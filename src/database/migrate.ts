import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { runMigrations } from "graphile-worker";
import pg from "pg";
import { errorCode, InsightsError } from "../errors.ts";
import { packageRoot } from "../paths.ts";
import { withClient } from "./connect.ts";
import { copyFunctions, hasCitus } from "./distribution.ts";
import { completeIndexes } from "./indexes.ts";
import { grantQueue, historyGrants, queueSchema } from "./logins.ts";
import { repairMonths } from "./months.ts";
import { convertPageViews } from "./page-views.ts";
import { isEmbedded, refusePooler } from "./pooler.ts";
import { refreshQueued } from "./refresh-queued.ts";
import {
  applyReleases,
  defaultLockWait,
  inTurn,
  type LockWait,
  readReleases,
  releaseState,
  withLockRetries,
} from "./release.ts";
import { checkSchemaConflicts } from "./schema-conflicts.ts";
import { ordinaryLogin } from "./sign-in.ts";
import { pendingCurrent } from "./source.ts";

const oldestServer = 150_000;
const oldestVector = [0, 8] as const;

/** Refuses a server that is too old, before anything is changed. */
export async function checkServer(client: pg.ClientBase, oldest: number = oldestServer): Promise<void> {
  const { rows } = await client.query<{ number: number; version: string }>(
    "select current_setting('server_version_num')::int as number, current_setting('server_version') as version",
  );
  const [server] = rows;
  if (server !== undefined && server.number < oldest) {
    const needed = Math.floor(oldest / 10_000);
    throw new InsightsError(
      `the server runs PostgreSQL ${server.version}, but version ${needed} or later is required`,
      {
        hint: "Upgrade the server, or unset DATABASE_URL to use the embedded database.",
      },
    );
  }
}

/** Refuses a server without pgvector, or with a version that is too old; returns whether this database has it. */
export async function checkVector(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ available: string | null; installed: string | null; major: number }>(
    `select max(default_version) as available, max(installed_version) as installed,
       current_setting('server_version_num')::int / 10000 as major
     from pg_catalog.pg_available_extensions where name = 'vector'`,
  );
  const { available = null, installed = null, major: server } = rows[0] ?? {};
  const version = installed ?? available;
  if (version === null) {
    throw new InsightsError("the server does not have the extension pgvector", {
      hint:
        `Install it on the server (Debian, with the packages of apt.postgresql.org: postgresql-${server}-pgvector; ` +
        `Docker: the image pgvector/pgvector:pg${server}), or enable it with your provider. Then run this again.`,
    });
  }
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major < oldestVector[0] || (major === oldestVector[0] && minor < oldestVector[1])) {
    throw new InsightsError(`the database has pgvector ${version}, but version 0.8 or later is required`, {
      hint: 'Update the server\'s package, then run "alter extension vector update" in this database.',
    });
  }
  return installed !== null;
}

async function createVector(client: pg.ClientBase, schema: string | null): Promise<void> {
  if (await checkVector(client)) return;
  try {
    const where = schema === null ? "" : ` schema ${pg.escapeIdentifier(schema)}`;
    await client.query(`create extension if not exists vector${where}`);
  } catch (error) {
    // A concurrent installation created it first.
    if (errorCode(error) === "23505" || errorCode(error) === "42710") return;
    throw new InsightsError(
      `the extension pgvector cannot be created: ${error instanceof Error ? error.message : error}`,
      {
        hint: 'Let an administrator run "create extension vector" in this database, or enable it with your provider. Then run this again.',
        cause: error,
      },
    );
  }
}

const rolesFile = join(packageRoot, "src", "sql", "roles.sql");

async function createRoles(client: pg.ClientBase): Promise<void> {
  const sql = await readFile(rolesFile, "utf8");
  for (let attempt = 1; ; attempt++) {
    try {
      await client.query(sql);
      return;
    } catch (error) {
      const code = errorCode(error);
      // "tuple concurrently updated": another database of the cluster is being installed.
      if ((code === "XX000" || code === "23505") && attempt < 20) {
        await wait(50 * attempt);
      } else if (code === "42501") {
        throw new InsightsError(
          `the login may not create the roles of the installation: ${error instanceof Error ? error.message : error}`,
          {
            hint:
              "Migrate as a login that owns the database and may create roles (alter role … createrole), " +
              "or let an administrator run src/sql/roles.sql once.",
            cause: error,
          },
        );
      } else {
        throw error;
      }
    }
  }
}

/**
 * The login of the embedded database for everything except migrations: it has all privileges on the data, but is not a
 * superuser, so that "copy … to program" or "to '/file'" is refused instead of ending the engine. A real server has
 * logins of its own.
 */
async function createEmbeddedLogin(client: pg.ClientBase): Promise<void> {
  await client.query(`
    do $$
    declare
      v_role name;
    begin
      if not ${isEmbedded} then
        return;
      end if;
      if to_regrole('${ordinaryLogin}') is null then
        create role ${ordinaryLogin} login;
        comment on role ${ordinaryLogin} is 'Canvas Flow Insights: login of the embedded database, no superuser.';
      end if;
      for v_role in select rolname from pg_roles where starts_with(rolname, 'insights_') loop
        execute format('grant %I to ${ordinaryLogin} with inherit true, set true', v_role);
      end loop;
      grant pg_read_all_data, pg_write_all_data, pg_monitor to ${ordinaryLogin};
      execute format('grant connect, create, temporary on database %I to ${ordinaryLogin}', current_database());
      grant usage, create on schema public to ${ordinaryLogin};
    end;
    $$`);
}

/**
 * The prerequisites of the first migration: a recent server, schema names that are not in use, pgvector, and the roles
 * of the cluster.
 */
export async function bootstrap(client: pg.ClientBase): Promise<void> {
  await checkServer(client);
  await checkSchemaConflicts(client);
  const { rows } = await client.query<{ schema: string | null }>("select pg_catalog.current_schema() as schema");
  // An administrator runs the following statements: functions of other roles must not be called instead of
  // PostgreSQL's.
  await client.query("set search_path to pg_catalog, pg_temp");
  await createVector(client, rows[0]?.schema ?? null);
  await createRoles(client);
  await checkSchemaOfVector(client);
  await createEmbeddedLogin(client);
}

/**
 * While functions are created, pgvector's types and operators are looked up in its schema, often public. A function
 * there that matches its arguments better than PostgreSQL's function of that name would be called instead, and run as
 * insights_owner.
 */
async function checkSchemaOfVector(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ found: string; fix: string }>(`
    with home as (
      select namespace.*
      from pg_catalog.pg_extension as extension
      join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
      where extension.extname = 'vector'
    ),

    maker as (
      select oid from pg_catalog.pg_roles
      where not rolsuper and not pg_has_role(oid, 'insights_owner', 'member')
    )

    select
      format('every role may create functions in the schema "%s", where pgvector is', home.nspname) as found,
      format('revoke create on schema %I from public', home.nspname) as fix
    from home
    cross join lateral aclexplode(coalesce(home.nspacl, acldefault('n', home.nspowner))) as privilege
    where privilege.grantee = 0 and privilege.privilege_type = 'CREATE'
    union all
    select
      format('%s of the role "%s" has the name of a function of PostgreSQL', function.oid::regprocedure, function.proowner::regrole),
      format('drop function %s', function.oid::regprocedure)
    from home
    join pg_catalog.pg_proc as function on function.pronamespace = home.oid and function.proowner in (select oid from maker)
    where exists (
      select from pg_catalog.pg_proc as builtin
      where builtin.pronamespace = 'pg_catalog'::regnamespace and builtin.proname = function.proname
    )
      and not exists (select from pg_catalog.pg_depend where objid = function.oid and deptype = 'e')
    union all
    select
      format('the operator %s of the role "%s" has the name of one of PostgreSQL', operator.oid::regoperator, operator.oprowner::regrole),
      format('drop operator %s', operator.oid::regoperator)
    from home
    join pg_catalog.pg_operator as operator on operator.oprnamespace = home.oid and operator.oprowner in (select oid from maker)
    where exists (
      select from pg_catalog.pg_operator as builtin
      where builtin.oprnamespace = 'pg_catalog'::regnamespace and builtin.oprname = operator.oprname
    )
      and not exists (select from pg_catalog.pg_depend where objid = operator.oid and deptype = 'e')
    limit 1`);
  const [problem] = rows;
  if (problem === undefined) return;
  throw new InsightsError(`${problem.found}: it could be called with the rights of the installation`, {
    hint: `As an administrator: ${problem.fix}; or give pgvector a schema of its own (alter extension vector set schema …). Then run this again.`,
  });
}

/**
 * Whether the database contains only objects of the installation and of extensions. Only then is the default privilege
 * to create temporary objects revoked from roles that do not need it.
 */
export async function holdsNothingElse(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ alone: boolean }>(`
    with object (classid, oid, schema, owner) as (
      select 'pg_catalog.pg_namespace'::regclass, oid, case nspname when 'public' then 'pg_catalog' else nspname end, nspowner
      from pg_catalog.pg_namespace
      union all
      select 'pg_catalog.pg_class'::regclass, oid, relnamespace::regnamespace::text, relowner from pg_catalog.pg_class
      union all
      select 'pg_catalog.pg_proc'::regclass, oid, pronamespace::regnamespace::text, proowner from pg_catalog.pg_proc
      union all
      select 'pg_catalog.pg_type'::regclass, oid, typnamespace::regnamespace::text, typowner from pg_catalog.pg_type
    )
    select not exists (
      select
      from object
      join pg_catalog.pg_roles as role on role.oid = object.owner
      where object.schema !~ '^pg_'
        and object.schema <> 'information_schema'
        and role.rolname not in ('insights_owner', 'insights_reader')
        and not exists (
          select
          from pg_catalog.pg_depend as dependency
          where dependency.classid = object.classid
            and dependency.objid = object.oid
            and dependency.deptype in ('e', 'i')
        )
    ) as alone
  `);
  return rows[0]?.alone === true;
}

/**
 * Whether the privilege to create temporary objects must be revoked from public: if it concerns only this installation,
 * and the login may revoke it. Roles that train models have it by a grant of their own (roles.sql); visitors and
 * learners do not need it.
 */
export async function mayRevokeTemporary(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ may: boolean }>(`
    select pg_has_role(current_user, datdba, 'usage') and exists (
        select from aclexplode(coalesce(datacl, acldefault('d', datdba))) as privilege
        where privilege.grantee = 0 and privilege.privilege_type = 'TEMPORARY'
      ) as may
    from pg_catalog.pg_database where datname = current_database()
  `);
  return rows[0]?.may === true && (await holdsNothingElse(client));
}

async function revokeTemporary(client: pg.Client): Promise<boolean> {
  try {
    await client.query(`revoke temporary on database ${pg.escapeIdentifier(client.database ?? "")} from public`);
    return true;
  } catch (error) {
    // "tuple concurrently updated": a concurrent migration revokes it.
    if (errorCode(error) === "XX000") return false;
    throw error;
  }
}

/**
 * The queue of graphile-worker, created by its own migrations, owned by insights_owner, and granted to the logins of
 * workers.
 */
export async function installWorker(url: string): Promise<void> {
  const pool = new pg.Pool({
    connectionString: url,
    max: 1,
    onConnect: async (client) => {
      await client.query("set role insights_owner; set search_path to pg_catalog, pg_temp");
    },
  });
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  try {
    await runMigrations({ pgPool: pool, schema: queueSchema });
    await grantQueue(pool);
  } finally {
    await pool.end();
  }
}

/** Runs a script in one transaction, as the owner of all objects. */
export async function runAsOwner(client: pg.ClientBase, sql: string): Promise<void> {
  await inTurn(client, 0, () => client.query(sql));
}

/** Applies the changes of a checkout beyond the releases; returns whether there were any. */
async function applyCurrent(url: string, client: pg.ClientBase, lockWait: LockWait): Promise<boolean> {
  if ((await pendingCurrent(client)) === undefined) return false;
  return await withLockRetries(url, client, "current.sql", lockWait, (lockTimeout) =>
    inTurn(client, lockTimeout, async () => {
      const pending = await pendingCurrent(client);
      if (pending === undefined) return false;
      await client.query(pending.sql);
      await pending.record(client);
      return true;
    }),
  );
}

export interface MigrateResult {
  /** Committed migrations that this run applied, by file name. */
  applied: string[];
  /** Whether the changes beyond the committed migrations were applied. */
  current: boolean;
  /**
   * Whether the privilege to create temporary objects was revoked from public: at the first migration of a database
   * without other applications.
   */
  temporaryRevoked: boolean;
  /** Number of indexes of partitions that were built or attached. */
  indexed: number;
  /** Number of boundaries between months of events that were moved to 00:00 UTC. */
  months: number;
  /** Number of page views of an earlier version that were moved into the sessions. */
  pageViews: number;
  /** Number of people whose derived data a release queued, and this run refreshed. */
  refreshed: number;
  /** Releases that the database has and this version does not contain. */
  ahead: string[];
}

export interface MigrateOptions extends Partial<LockWait> {
  /** False: apply the releases only, also in a checkout. */
  current?: boolean;
}

/** Migrates a database to this version: roles, pgvector, the queue, migrations. Safe to repeat. */
export async function migrate(url: string, options: MigrateOptions = {}): Promise<MigrateResult> {
  const lockWait: LockWait = { ...defaultLockWait, ...options };
  return await withClient(url, async (client) => {
    await refusePooler(client);
    const releases = await readReleases();
    // Before anything is changed. For a login that may not read it, bootstrap reports the missing privileges.
    await releaseState(client, releases).catch((error: unknown) => {
      if (errorCode(error) !== "42501") throw error;
    });
    await bootstrap(client);
    const { ahead, pending } = await releaseState(client, releases);
    const temporaryRevoked =
      pending.length === releases.length && (await mayRevokeTemporary(client)) && (await revokeTemporary(client));
    await installWorker(url);
    const applied = await applyReleases(url, client, releases, lockWait);
    if (applied.length > 0 && (await hasCitus(client))) await copyFunctions(client, lockWait.say);
    await runAsOwner(client, historyGrants);
    // A newer version has migrated the database: its functions must not be replaced by older ones.
    const current = options.current !== false && ahead.length === 0 && (await applyCurrent(url, client, lockWait));
    const months = await repairMonths(url, client, lockWait);
    const pageViews = await convertPageViews(url, client, lockWait);
    const indexed = await completeIndexes(url, client, lockWait);
    // A newer version has consumers and functions of its own.
    const refreshed = ahead.length === 0 ? await refreshQueued(url, lockWait.say) : 0;
    return { applied, current, indexed, months, pageViews, refreshed, ahead, temporaryRevoked };
  });
}
