import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { Logger } from "@graphile/logger";
import { migrate as migrateCommitted, type Settings } from "graphile-migrate";
import { runMigrations } from "graphile-worker";
import pg from "pg";
import { errorCode, InsightsError } from "../errors.ts";
import { packageRoot } from "../paths.ts";
import { withClient } from "./connect.ts";
import { grantQueue, historyGrants, queueSchema } from "./logins.ts";
import { checkNeighbours } from "./neighbours.ts";
import { refusePooler } from "./pooler.ts";
import { ordinaryLogin } from "./sign-in.ts";
import { compileSql, migrationsDirectory } from "./sql.ts";

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
    throw new InsightsError(`the server runs PostgreSQL ${server.version}, and version ${needed} or later is needed`, {
      hint: "Upgrade the server, or unset DATABASE_URL to use the embedded database.",
    });
  }
}

/** Refuses a server without pgvector, or with one that is too old; answers whether this database has it. */
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
        `Docker: the image pgvector/pgvector:pg${server}), or switch it on with your provider. Then run this again.`,
    });
  }
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major < oldestVector[0] || (major === oldestVector[0] && minor < oldestVector[1])) {
    throw new InsightsError(`the database has pgvector ${version}, and version 0.8 or later is needed`, {
      hint: 'Update the server\'s package, then run "alter extension vector update" in this database.',
    });
  }
  return installed !== null;
}

async function createVector(client: pg.ClientBase): Promise<void> {
  if (await checkVector(client)) return;
  try {
    await client.query("create extension if not exists vector");
  } catch (error) {
    // Two installations at once: the other one was quicker.
    if (errorCode(error) === "23505" || errorCode(error) === "42710") return;
    throw new InsightsError(
      `the extension pgvector cannot be created: ${error instanceof Error ? error.message : error}`,
      {
        hint: 'Let an administrator run "create extension vector" in this database, or use your provider\'s way. Then run this again.',
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
      // "tuple concurrently updated": another database of the cluster is installed at this moment.
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
 * The login of the embedded database for everything but migrations: it may do all that can be done to the data, but is
 * no superuser, so that a "copy … to program" or "to '/file'" is refused instead of ending the engine. A real server
 * has logins of its own.
 */
async function createEmbeddedLogin(client: pg.ClientBase): Promise<void> {
  await client.query(`
    do $$
    declare
      v_role name;
    begin
      if version() !~ 'wasm|emscripten' then
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
 * What must stand before the first migration: a server that is new enough, schemas that no other application has taken,
 * pgvector, and the roles of the cluster.
 */
export async function bootstrap(client: pg.ClientBase): Promise<void> {
  await checkServer(client);
  await checkNeighbours(client);
  await createVector(client);
  await createRoles(client);
  await createEmbeddedLogin(client);
}

/**
 * Whether the database holds nothing but what we and extensions made. Only then is the right to make temporary objects,
 * which everybody has by default, ours to take from those who need none.
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
 * Takes the right to make temporary objects from public, where that concerns nobody but us and is ours to take. Those who
 * train have it by a grant of their own (roles.sql); visitors and learners need none.
 */
async function revokeTemporary(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ name: string; owned: boolean; granted: boolean }>(`
    select datname as name, pg_has_role(current_user, datdba, 'usage') as owned,
      exists (
        select from aclexplode(coalesce(datacl, acldefault('d', datdba))) as privilege
        where privilege.grantee = 0 and privilege.privilege_type = 'TEMPORARY'
      ) as granted
    from pg_catalog.pg_database where datname = current_database()
  `);
  const [database] = rows;
  if (database === undefined || !database.owned || !database.granted || !(await holdsNothingElse(client))) return false;
  try {
    await client.query(`revoke temporary on database ${pg.escapeIdentifier(database.name)} from public`);
    return true;
  } catch (error) {
    // "tuple concurrently updated": another process migrates at this moment, and does it.
    if (errorCode(error) === "XX000") return false;
    throw error;
  }
}

/** The queue of graphile-worker, by its own migrations, owned as everything else is, and open to the logins of workers. */
export async function installWorker(url: string): Promise<void> {
  const pool = new pg.Pool({
    connectionString: url,
    max: 1,
    onConnect: async (client) => {
      await client.query("set role insights_owner");
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

/** Some work in one transaction, as the owner of everything. */
async function asOwner<T>(client: pg.ClientBase, work: () => Promise<T>): Promise<T> {
  await client.query("begin");
  try {
    await client.query("set local role insights_owner");
    const result = await work();
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback");
    throw error;
  }
}

/** Runs a script in one transaction, as the owner of everything. */
export async function runAsOwner(client: pg.ClientBase, sql: string): Promise<void> {
  await asOwner(client, () => client.query(sql));
}

async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * What the source of a checkout has beyond the committed migrations, unless this database has seen it in this state;
 * undefined when there is nothing to do.
 */
export async function pendingCurrent(client: pg.ClientBase): Promise<string | undefined> {
  const source = await readIfPresent(join(migrationsDirectory, "current.sql"));
  if (source === undefined || source.trim() === "") return undefined;
  const content = await compileSql(source, "current.sql");
  const { rows } = await client.query<{ content: string }>(
    "select content from graphile_migrate.current where filename = 'current.sql'",
  );
  return rows[0]?.content === content ? undefined : content;
}

/**
 * Applies current.sql as `graphile-migrate current` does it, but within one connection, which is all that the embedded
 * database has.
 */
async function applyCurrent(client: pg.ClientBase): Promise<boolean> {
  return await asOwner(client, async () => {
    // Another process may be at it.
    await client.query("select pg_advisory_xact_lock(hashtext('insights: current.sql'))");
    const content = await pendingCurrent(client);
    if (content === undefined) return false;
    await client.query(content);
    await client.query(
      `insert into graphile_migrate.current (content) values ($1)
       on conflict (filename) do update set content = excluded.content, date = excluded.date`,
      [content],
    );
    return true;
  });
}

/** The committed migrations of this version, by file name, in order. */
export async function committedMigrations(): Promise<string[]> {
  const files = await readdir(join(migrationsDirectory, "committed"));
  return files.filter((name) => /^\d+.*\.sql$/.test(name)).sort();
}

/** What tells a migration in the database, which does not know the words of the file's name. */
export const migrationNumber = (filename: string): string => filename.slice(0, 6);

export interface MigrateResult {
  /** Committed migrations that this run applied, by file name. */
  applied: string[];
  /** Whether the source beyond the committed migrations was applied. */
  current: boolean;
  /** Whether the right to make temporary objects was taken from public: at the first migration of a database of our own. */
  temporaryRevoked: boolean;
}

async function appliedMigrations(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ present: boolean }>(
    "select to_regclass('graphile_migrate.migrations') is not null as present",
  );
  if (rows[0]?.present !== true) return [];
  const result = await client.query<{ filename: string }>(
    "select filename from graphile_migrate.migrations order by filename",
  );
  return result.rows.map(({ filename }) => filename);
}

/** Brings a database to the state of this version: roles, pgvector, the queue, migrations. Safe to repeat. */
export async function migrate(url: string, options: { current?: boolean } = {}): Promise<MigrateResult> {
  return await withClient(url, async (client) => {
    await refusePooler(client);
    await bootstrap(client);
    const before = await appliedMigrations(client);
    const temporaryRevoked = before.length === 0 && (await revokeTemporary(client));
    await installWorker(url);
    const settings: Settings = {
      connectionString: url,
      migrationsFolder: migrationsDirectory,
      pgSettings: { role: "insights_owner" },
      // What it would print is in the answer, or in the error.
      logger: new Logger(() => () => {}),
    };
    try {
      for (let attempt = 1; ; attempt++) {
        try {
          await migrateCommitted(settings);
          break;
        } catch (error) {
          // Another process migrates at this moment.
          if (!(error instanceof Error) || error.message !== "Failed to get exclusive lock" || attempt > 600)
            throw error;
          await wait(100);
        }
      }
    } finally {
      // graphile-migrate keeps its connection for 200 ms, and ends the process when the server cuts it: also before the error is told.
      await wait(250);
    }
    await runAsOwner(client, historyGrants);
    const applied = (await appliedMigrations(client)).slice(before.length);
    const current = options.current !== false && (await applyCurrent(client));
    return { applied, current, temporaryRevoked };
  });
}
