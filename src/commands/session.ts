import type pg from "pg";
import { type Config, readConfig } from "../config.ts";
import { createPool, type Database, openDatabase } from "../database/connect.ts";
import { migrate } from "../database/migrate.ts";

export interface Session {
  config: Config;
  database: Database;
  pool: pg.Pool;
}

/**
 * The configured database for the time of one command: the running one, or the embedded database opened, and brought up
 * to date, here.
 */
export async function withSession<T>(command: string, work: (session: Session) => Promise<T>): Promise<T> {
  const config = readConfig();
  const database = await openDatabase(config, command);
  try {
    if (database.own) await migrate(database.url);
    const pool = createPool(database, config.poolSize);
    try {
      return await work({ config, database, pool });
    } finally {
      await pool.end();
    }
  } finally {
    await database.close();
  }
}
