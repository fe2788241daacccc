import type pg from "pg";
import { requestSettings, type Sender, statementSeconds } from "../api/authentication.ts";
import type { Gate } from "../api/connections.ts";
import { runInTransaction } from "../api/run-as.ts";
import type { Tool } from "./tools.ts";

/* Calls a tool in a transaction of its own, with the role and the settings of its sender, as the API does. */

export interface Bounds {
  /** Rows of an answer. */
  rows: number;
  /** Bytes of their JSON. */
  bytes: number;
  /** Seconds of a statement; a role's own limit applies where it is shorter. */
  seconds: number;
}

export interface Answer {
  /** The JSON text of each row. */
  rows: string[];
  /** Whether rows were left out. */
  isCut: boolean;
}

/** One transaction of a role. */
export type InTransaction = <T>(
  sender: Sender,
  options: { readOnly: boolean; seconds: number },
  work: (client: pg.PoolClient) => Promise<T>,
) => Promise<T>;

export function createTransactions(pool: pg.Pool, gate: Gate): InTransaction {
  return async (sender, { readOnly, seconds }, work) => {
    const leave = await gate.enter(`insights_${sender.role}`, sender.person ?? sender.address ?? "");
    try {
      const settings = {
        ...requestSettings(sender),
        statement_timeout: `${Math.min(seconds, statementSeconds[sender.role])}s`,
        TimeZone: "UTC",
      };
      const begin = readOnly ? "begin transaction read only" : "begin";
      const signedIn = async (client: pg.PoolClient) => {
        if (sender.person !== undefined) await client.query("select track.sign_in()");
        return await work(client);
      };
      return await runInTransaction(pool, settings, signedIn, begin);
    } finally {
      leave();
    }
  };
}

/**
 * Rows are cut in the database: by their number, and where their bytes together exceed the bound. One row too many is
 * read, so that the answer states whether there are more.
 */
export async function callTool(
  inTransaction: InTransaction,
  sender: Sender,
  tool: Tool,
  given: Record<string, unknown>,
  { rows: most, bytes, seconds }: Bounds,
): Promise<Answer> {
  const { expression, values } = tool.call(given);
  const count = values.length;
  const statement = `
    with answer as materialized (
      select ${tool.returnsNothing ? "null::text" : "coalesce(to_json(called)::text, 'null')"} as answer, row_number() over () as place
      from ${expression} as called
      limit $${count + 1}::int + 1
    ), measured as (
      select answer, place, sum(octet_length(answer)) over (order by place) as bytes
      from answer
    )
    select case when place <= $${count + 1}::int and bytes <= $${count + 2}::int then answer end as answer
    from measured
    order by place`;
  const readOnly = !tool.writes && !tool.logs;
  const rows = await inTransaction(sender, { readOnly, seconds }, async (client) => {
    const answer = await client.query<{ answer: string | null }>(statement, [...values, most, bytes]);
    return answer.rows;
  });
  if (tool.returnsNothing) return { rows: [], isCut: false };
  const kept = rows.map(({ answer }) => answer).filter((answer) => answer !== null);
  return { rows: kept, isCut: kept.length < rows.length };
}
