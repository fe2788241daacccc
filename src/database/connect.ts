import pg from "pg";
import type { Config } from "../config.ts";
import { describeError } from "../errors.ts";
import { type EmbeddedAddress, type EmbeddedDatabase, findEmbedded, openEmbedded } from "./embedded.ts";
import { DirectoryInUse } from "./lock.ts";
import { isPooled } from "./pooler.ts";

/** Where the database is, and how to speak with it. */
export interface Database {
  readonly url: string;
  /**
   * Where migrations connect to: the server itself; on the embedded database, as its superuser. `pooler` undefined
   * leaves it to `migrate` to look.
   */
  readonly direct: { readonly url: string; readonly pooler?: boolean | undefined };
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
    const url = config.databaseUrl;
    const direct = config.directUrl === undefined ? { url, pooler: config.pooler } : { url: config.directUrl };
    const pooler = config.pooler ?? (await withClient(url, isPooled));
    return { url, direct, embedded: false, pooler, own: false, close: async () => {} };
  }
  for (let attempt = 1; ; attempt++) {
    const running = await findEmbedded(config.dataDirectory);
    if (running !== undefined) {
      return { ...addressed(running), own: false, close: async () => {} };
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

const addressed = ({ url, migrationUrl }: EmbeddedAddress) => ({
  url,
  direct: { url: migrationUrl, pooler: false },
  embedded: true,
  pooler: true,
});

/** Without its database a process has nothing to do. */
export function endWithDatabase(error: Error): void {
  console.error(describeError(error));
  process.exit(1);
}

/** The embedded database that this process has opened. */
export function ownDatabase(database: EmbeddedDatabase): Database {
  const { psqlUrl, close } = database;
  return { ...addressed(database), psqlUrl, own: true, close };
}

/** A pool of connections. Statements are never named, so that it works through every pooler. */
export function createPool(database: Pick<Database, "url">, max: number): pg.Pool {
  const pool = new pg.Pool({ connectionString: database.url, max, application_name: "canvas-flow-insights" });
  // An idle connection that the server cuts is replaced at the next query.
  pool.on("error", () => {});
  return pool;
}

/** One connection for the time of some work. */
export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, application_name: "canvas-flow-insights" });
  client.on("error", () => {});
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end();
  }
}
