import pg from "pg";
import type { Config } from "../config.ts";
import { findEmbedded, openEmbedded } from "./embedded.ts";
import { isPooled } from "./pooler.ts";

/** Where the database is, and how to speak with it. */
export interface Database {
  readonly url: string;
  /** Where migrations connect to: the server itself. `pooler` undefined leaves it to `migrate` to look. */
  readonly direct: { readonly url: string; readonly pooler?: boolean | undefined };
  /** The embedded database: one session for all, superuser only. */
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
    // INSIGHTS_POOLER=false holds for migrations too; otherwise they check for themselves.
    const direct = { url: config.directUrl ?? url, pooler: config.pooler === false ? false : undefined };
    const pooler = config.pooler ?? (await withClient(url, isPooled));
    return { url, direct, embedded: false, pooler, own: false, close: async () => {} };
  }
  const running = await findEmbedded(config.dataDirectory);
  if (running !== undefined) return embedded(running.url, false, async () => {});
  const opened = await openEmbedded({ dataDirectory: config.dataDirectory, command, port: config.databasePort });
  return embedded(opened.url, true, () => opened.close());
}

/** The embedded database at an address. */
export function embedded(url: string, own: boolean, close: () => Promise<void>): Database {
  return { url, direct: { url, pooler: false }, embedded: true, pooler: true, own, close };
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
