import type pg from "pg";
import { readConfig } from "../config.ts";
import { openDatabase, withClient } from "../database/connect.ts";
import { InsightsError } from "../errors.ts";

/** Works on the configured database, which must have been migrated, through one connection. */
export async function withCollection<T>(command: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const database = await openDatabase(readConfig(), command);
  try {
    return await withClient(database.url, async (client) => {
      const { rows } = await client.query<{ exists: boolean }>(
        "select to_regprocedure('track.ingest(jsonb)') is not null as exists",
      );
      if (rows[0]?.exists !== true) {
        throw new InsightsError("the database has no function track.ingest(jsonb)", { hint: "Run: insights migrate" });
      }
      return await work(client);
    });
  } finally {
    await database.close();
  }
}
