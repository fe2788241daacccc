import pg from "pg";
import type { TestDatabase } from "./database.ts";

/** The roles that requests and workers run under, without their prefix. */
export const roles = ["visitor", "learner", "instructor", "analyst", "admin", "worker"] as const;

/**
 * The roles that may run a statement: for every other one it ends with 42501. Its changes are rolled back. A permitted
 * function may still raise an error for its arguments (CF…); any other error is thrown.
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
