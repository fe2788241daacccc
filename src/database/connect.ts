import pg from "pg";
import type { Config } from "../config.ts";
import { describeError } from "../errors.ts";
import { type EmbeddedDatabase, findEmbedded, openEmbedded } from "./embedded.ts";
import { DirectoryInUse } from "./lock.ts";
import { isPooled } from "./pooler.ts";

/** Address of the database, and how to use it. */
export interface Database {
  readonly url: string;
  /**
   * The connection of migrations, if it is not `url`: the server itself behind a pooler, or the embedded database as
   * its superuser.
   */
  readonly migrationUrl?: string;
  /** The connection string for psql, if it is not `url`. */
  readonly psqlUrl?: string;
  /** Whether it is the embedded database, which has one session for all connections. */
  readonly embedded: boolean;
  /**
   * Whether a transaction pooler is in between (the embedded database behaves like one): no named prepared statements,
   * no LISTEN, no session state outside of a transaction.
   */
  readonly pooler: boolean;
  /** Whether this process has opened the embedded database, exclusively. */
  readonly own: boolean;
  /** Releases the resources of the caller: closes the embedded database if this process opened it. */
  close(): Promise<void>;
}

/**
 * The configured database: DATABASE_URL; else the running embedded database; else the embedded database, opened here
 * under the name of `command`.
 */
export async function openDatabase(config: Config, command: string): Promise<Database> {
  if (config.databaseUrl !== undefined) {
    const pooler = config.pooler ?? (await withClient(config.databaseUrl, isPooled));
    const direct = config.directUrl === undefined ? {} : { migrationUrl: config.directUrl };
    return { url: config.databaseUrl, ...direct, embedded: false, pooler, own: false, close: async () => {} };
  }
  for (let attempt = 1; ; attempt++) {
    const running = await findEmbedded(config.dataDirectory);
    if (running !== undefined) {
      return { ...running, embedded: true, pooler: true, own: false, close: async () => {} };
    }
    try {
      const { dataDirectory, databasePort: port } = config;
      return ownDatabase(await openEmbedded({ dataDirectory, command, port, onFailure: endWithDatabase }));
    } catch (error) {
      // Another process opened it first: its database is used.
      if (!(error instanceof DirectoryInUse) || attempt > 5) throw error;
    }
  }
}

/** A process cannot continue without its database. */
export function endWithDatabase(error: Error): void {
  console.error(describeError(error));
  process.exit(1);
}

/** The embedded database that this process has opened. */
export function ownDatabase({ url, migrationUrl, psqlUrl, close }: EmbeddedDatabase): Database {
  return { url, migrationUrl, psqlUrl, embedded: true, pooler: true, own: true, close };
}

/** A pool of connections. Statements are not named, so that it works with every pooler. */
export function createPool(database: Pick<Database, "url">, max: number, options: pg.PoolConfig = {}): pg.Pool {
  const pool = new pg.Pool({
    connectionString: database.url,
    max,
    application_name: "canvas-flow-insights",
    ...options,
  });
  // An idle connection that the server closes is replaced at the next query. One that is in use fails its queries, and
  // emits an error as well, which would end the process: as when PostgreSQL restarts during a transaction.
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  return pool;
}

/** Milliseconds that connecting may take: 15 seconds, or libpq's parameter `connect_timeout` of the URL (in seconds, 0 for no limit). */
function connectTimeout(url: string): number {
  const seconds = /[?&]connect_timeout=(\d{1,6})(&|$)/.exec(url)?.[1] ?? "15";
  return Number(seconds) * 1000;
}

/**
 * Switches the transaction to a role of the installation if the login is a member. A login of the API or of a worker has no
 * rights itself; another one keeps its own.
 */
export async function assumeRole(client: pg.ClientBase, role: "insights_admin" | "insights_worker"): Promise<void> {
  await client.query(
    `select set_config('role', rolname, true)
     from pg_catalog.pg_roles
     where rolname = $1 and pg_has_role(oid, 'member')`,
    [role],
  );
}

/** One connection for the duration of `work`. */
export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: url,
    application_name: "canvas-flow-insights",
    // A firewall that drops packets answers nothing; the driver would wait for minutes. The embedded database may be busy.
    ...(/[?&]host=/.test(url) ? {} : { connectionTimeoutMillis: connectTimeout(url) }),
  });
  client.on("error", () => {});
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end();
  }
}
