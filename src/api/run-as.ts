import type pg from "pg";
import type { Role } from "./authentication.ts";
import { BusyError } from "./connections.ts";

/** Runs one statement in a transaction of its own, with these settings. */
export type Run = <Row extends object>(
  settings: Readonly<Record<string, string>>,
  text: string,
  values?: readonly unknown[],
) => Promise<Row[]>;

/** The same under a role. */
export type RunAs = <Row extends object>(role: Role, text: string, values?: readonly unknown[]) => Promise<Row[]>;

/** One transaction with these settings, which `begin` begins. */
export async function runInTransaction<T>(
  pool: pg.Pool,
  settings: Readonly<Record<string, string>>,
  work: (client: pg.PoolClient) => Promise<T>,
  begin = "begin",
): Promise<T> {
  const client = await pool.connect();
  let failure: unknown;
  try {
    await client.query(begin);
    await client.query(
      "select set_config(name, value, true) from unnest($1::text[], $2::text[]) as setting (name, value)",
      [Object.keys(settings), Object.values(settings)],
    );
    const result = await work(client);
    await client.query("commit");
    return result;
  } catch (error) {
    failure = error;
    await client.query("rollback").catch(() => {});
    throw error;
  } finally {
    // A connection is kept after an error of the statement, not after one of the connection.
    client.release(failure !== undefined && !("severity" in Object(failure)));
  }
}

/** Statements of the server itself, outside of GraphQL. `longest` is the longest wait for an answer, in milliseconds. */
export function createRun(pool: pg.Pool, longest: number): Run {
  const run = <Row extends object>(
    settings: Readonly<Record<string, string>>,
    text: string,
    values: readonly unknown[],
  ): Promise<Row[]> =>
    runInTransaction(pool, settings, async (client) => (await client.query<Row>(text, [...values])).rows);

  return async (settings, text, values = []) => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new BusyError()), longest);
    });
    try {
      return await Promise.race([
        run({ ...settings, statement_timeout: `${longest}ms` }, text, values) as Promise<never>,
        late,
      ]);
    } finally {
      clearTimeout(timer);
    }
  };
}

export function createRunAs(pool: pg.Pool, longest: number): RunAs {
  const run = createRun(pool, longest);
  return (role, text, values) => run({ role: `insights_${role}` }, text, values);
}
