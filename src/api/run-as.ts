import { setTimeout as wait } from "node:timers/promises";
import type pg from "pg";
import type { Role } from "./authentication.ts";
import { BusyError } from "./connections.ts";

/** Runs one statement in a transaction of its own, under a role. */
export type RunAs = <Row extends object>(role: Role, text: string, values?: readonly unknown[]) => Promise<Row[]>;

/** Statements of the server itself, outside of GraphQL. `longest` is the longest wait for an answer, in milliseconds. */
export function createRunAs(pool: pg.Pool, longest: number): RunAs {
  async function run<Row extends object>(role: Role, text: string, values: readonly unknown[]): Promise<Row[]> {
    const client = await pool.connect();
    let failure: unknown;
    try {
      await client.query("begin");
      await client.query("select set_config('role', $1, true), set_config('statement_timeout', $2, true)", [
        `insights_${role}`,
        `${longest}ms`,
      ]);
      const { rows } = await client.query<Row>(text, [...values]);
      await client.query("commit");
      return rows;
    } catch (error) {
      failure = error;
      await client.query("rollback").catch(() => {});
      throw error;
    } finally {
      // A connection is kept after an error of the statement, not after one of the connection.
      client.release(failure !== undefined && !("severity" in Object(failure)));
    }
  }

  return async (role, text, values = []) => {
    const late = new AbortController();
    try {
      return await Promise.race([
        run(role, text, values) as Promise<never>,
        wait(longest, undefined, { signal: late.signal }).then(() => Promise.reject(new BusyError())),
      ]);
    } finally {
      late.abort();
    }
  };
}
