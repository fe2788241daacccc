import pg from "pg";
import type { TestDatabase } from "./database.ts";

/** The roles that requests and workers run under, without their prefix. */
export const roles = ["visitor", "learner", "analyst", "admin", "worker"] as const;

/**
 * Those of them that may run a statement: for every other it ends with 42501. What it changes is rolled back. Who may call a function
 * may still be told that the input is bad (CF…); any other error is thrown.
 */
export async function rolesThatMay(
  database: TestDatabase,
  sql: string,
  settings: Record<string, string> = {},
): Promise<string[]> {
  const allowed: string[] = [];
  for (const role of roles) {
    await database.as(`insights_${role}`, settings, async (db) => {
      try {
        await db.query(sql);
      } catch (error) {
        if (!(error instanceof pg.DatabaseError)) throw error;
        if (error.code === "42501") return;
        if (!error.code?.startsWith("CF")) throw error;
      }
      allowed.push(role);
    });
  }
  return allowed;
}
