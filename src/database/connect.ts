import pg from "pg";
import type { Config } from "../config.ts";
import { findEmbedded, openEmbedded } from "./embedded.ts";
import { isPooled } from "./pooler.ts";

/** Where the database is, and how to speak with it. */
export interface Database {
  readonly url: string;
  /** Where migrations connect to, when it is not `url`: the server itself, where `url` leads through a pooler. */
  readonly migrationUrl?: string;
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
    const pooler = config.pooler ?? (await withClient(config.databaseUrl, isPooled));
    const direct = config.directUrl === undefined ? {} : { migrationUrl: config.directUrl };
    return { url: config.databaseUrl, ...direct, embedded: false, pooler, own: false, close: async () => {} };
  }
  const running = await findEmbedded(config.dataDirectory);
  if (running !== undefined)
    return { url: running.url, embedded: true, pooler: true, own: false, close: async () => {} };
  const opened = await openEmbedded({ dataDirectory: config.dataDirectory, command, port: config.databasePort });
  return { url: opened.url, embedded: true, pooler: true, own: true, close: () => opened.close() };
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
