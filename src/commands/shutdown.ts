import { once } from "node:events";
import type { Database } from "../database/connect.ts";

/** Milliseconds from a signal to the forced exit: service managers often send kill -9 soon after it. */
export const longest = 4000;

/**
 * Limits the time of a shutdown. The embedded database cannot cancel a statement, and ending it during one is
 * equivalent to a crash: nothing acknowledged is lost, and unfinished transactions are rolled back. A server cancels
 * statements by its own limits.
 */
export function exitInTime(database: Pick<Database, "embedded">, code: number): void {
  if (database.embedded) setTimeout(() => process.exit(code), longest).unref();
}

/** Resolves at Ctrl-C or SIGTERM. */
export async function untilSignal(database: Database): Promise<void> {
  await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
  console.log("stopping …");
  exitInTime(database, 0);
}
