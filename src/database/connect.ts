import pg from "pg";
import type { Config } from "../config.ts";
import { describeError } from "../errors.ts";
import { type EmbeddedDatabase, findEmbedded, openEmbedded } from "./embedded.ts";
import { DirectoryInUse } from "./lock.ts";
import { isPooled } from "./pooler.ts";

/** Where the database is, and how to speak with it. */
export interface Database {
  readonly url: string;
  /** Where migrations connect to, when it is not `url`: the server itself behind a pooler, or the embedded database as its superuser. */
  readonly migrationUrl?: string;
  /** What psql is called with, where that is not `url`. */
  readonly psqlUrl?: string;
  /** The embedded database: one session for all. */
  readonly embedded: boolean;
  /**
   * A transaction pooler stands in between (the embedded database is one, in effect): no named prepared statements, no
   * LISTEN, no state of the session outside a transaction.
   */
  readonly pooler: boolean;
  /** This process has opened the embedded database, and nobody else has it. */
  readonly own: boolean;
  /** Gives back what was opened for the caller: the embedded database, when this process opened it. */
  close(): Promise<void>;
}

/**
 * The configured database: DATABASE_URL; else the embedded database that is running; else the embedded database, opened
 * here under the name of `command`.
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
      // Another process was quicker: its database will do.
      if (!(error instanceof DirectoryInUse) || attempt > 5) throw error;
    }
  }
}

/** Without its database a process has nothing to do. */
export function endWithDatabase(error: Error): void {
  console.error(describeError(error));
  process.exit(1);
}

/** The embedded database that this process has opened. */
export function ownDatabase({ url, migrationUrl, psqlUrl, close }: EmbeddedDatabase): Database {
  return { url, migrationUrl, psqlUrl, embedded: true, pooler: true, own: true, close };
}

/** A pool of connections. Statements are never named, so that it works through every pooler. */
export function createPool(database: Pick<Database, "url">, max: number): pg.Pool {
  const pool = new pg.Pool({ connectionString: database.url, max, application_name: "canvas-flow-insights" });
  // An idle connection that the server cuts is replaced at the next query.
  pool.on("error", () => {});
  return pool;
}

/** Milliseconds that connecting may take: 15 seconds, or libpq's parameter `connect_timeout` of the URL (in seconds, 0 for no limit). */
function connectTimeout(url: string): number {
  const seconds = /[?&]connect_timeout=(\d{1,6})(&|$)/.exec(url)?.[1] ?? "15";
  return Number(seconds) * 1000;
}

/** One connection for the time of some work. */
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
