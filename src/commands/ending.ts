import { once } from "node:events";
import type { Database } from "../database/connect.ts";

/** Milliseconds from a signal to the end: who sends one often follows it by kill -9. */
const longest = 4000;

/**
 * Bounds the time that a process takes to end by itself. The embedded database cannot stop a statement, and its end in
 * the middle of one is that of a crash: nothing acknowledged is lost, and what was not is rolled back. A server stops
 * statements itself, by their limits.
 */
export function endInTime(database: Pick<Database, "embedded">, code: number): void {
  if (database.embedded) setTimeout(() => process.exit(code), longest).unref();
}

/** Waits for Ctrl-C or SIGTERM. */
export async function untilEnded(database: Database): Promise<void> {
  await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
  console.log("stopping …");
  endInTime(database, 0);
}
