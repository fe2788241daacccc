import type pg from "pg";
import { type Config, readConfig } from "../config.ts";
import { assumeRole, createPool, type Database, openDatabase } from "../database/connect.ts";
import { migrate } from "../database/migrate.ts";
import { errorCode, InsightsError } from "../errors.ts";

export interface Session {
  config: Config;
  database: Database;
  pool: pg.Pool;
}

/** Error codes of a database that has not been migrated: undefined table, schema or function. */
const missing = new Set(["42P01", "3F000", "42883"]);

async function isMigrated(pool: pg.Pool): Promise<boolean> {
  const { rows } = await pool.query<{ found: boolean }>("select to_regnamespace('recommend') is not null as found");
  return rows[0]?.found === true;
}

/**
 * The configured database for the duration of one command: the running one, or the embedded database, opened and
 * migrated here.
 */
export async function withSession<T>(command: string, work: (session: Session) => Promise<T>): Promise<T> {
  const config = readConfig();
  const database = await openDatabase(config, command);
  try {
    if (database.own) await migrate(database.migrationUrl ?? database.url);
    const pool = createPool(database, config.poolSize);
    try {
      return await work({ config, database, pool });
    } catch (error) {
      if (!(error instanceof Error) || !missing.has(errorCode(error) ?? "") || (await isMigrated(pool))) throw error;
      throw new InsightsError(error.message, {
        hint: "The database has not been migrated. Run: insights migrate",
        cause: error,
      });
    } finally {
      await pool.end();
    }
  } finally {
    await database.close();
  }
}

/** One transaction as an administrator, rolled back after an error. */
export async function inTransaction<T>(
  pool: pg.Pool,
  work: (client: pg.PoolClient) => Promise<T>,
  { readOnly = false }: { readOnly?: boolean } = {},
): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query(readOnly ? "begin transaction read only" : "begin");
    await assumeRole(client, "insights_admin");
    const result = await work(client);
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw error;
  } finally {
    client.release();
  }
}

/** A command that is one transaction as an administrator. */
export async function asAdministrator<T>(
  command: string,
  work: (client: pg.PoolClient) => Promise<T>,
  options: { readOnly?: boolean } = {},
): Promise<T> {
  return await withSession(command, ({ pool }) => inTransaction(pool, work, options));
}

/** The standard input, as text. */
export async function readInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString("utf8");
}
