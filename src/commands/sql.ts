import Table from "cli-table3";
import { Command } from "commander";
import type pg from "pg";
import { errorCode, InsightsError } from "../errors.ts";
import { readInput, withSession } from "./session.ts";

function cell(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (value instanceof Date) return value.toISOString();
  if (Buffer.isBuffer(value)) return `\\x${value.toString("hex")}`;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function print(result: pg.QueryArrayResult, json: boolean): void {
  const names = result.fields.map(({ name }) => name);
  if (json) {
    console.log(
      JSON.stringify(result.rows.map((row) => Object.fromEntries(names.map((name, column) => [name, row[column]])))),
    );
    return;
  }
  if (names.length === 0) {
    console.log(`${result.command ?? "done"}${result.rowCount === null ? "" : ` ${result.rowCount}`}`);
    return;
  }
  const table = new Table({ head: names, style: { head: [], border: [] } });
  for (const row of result.rows) table.push(row.map(cell));
  console.log(table.toString());
  console.log(`${result.rows.length} ${result.rows.length === 1 ? "row" : "rows"}`);
}

/**
 * Resets session state that a statement may leave behind, such as a role. In the same message as the statement: a
 * pooler may execute the next message in another session.
 */
const cleanUp = [
  "reset session authorization",
  "reset role",
  "reset all",
  "close all",
  "unlisten *",
  "deallocate all",
  "discard temp",
  "select pg_catalog.pg_advisory_unlock_all()",
];

export default new Command()
  .description(
    "Runs SQL on the configured database, also while `insights start` runs, and prints the result as a table.",
  )
  .argument("[query]", "one or more statements; - or no argument reads them from standard input")
  .option("--json", "print the rows as JSON, one line per statement")
  .option("--role <role>", "run as this role, such as insights_analyst")
  .option("--person <person>", "with --role insights_learner or insights_instructor: as this person")
  .addHelpText(
    "after",
    `
Examples:
  insights sql "select * from analytics.popular_items(top => 5)"
  insights sql --json "select count(*) from track.event"
  insights sql --role insights_learner --person ada "select * from recommend.for_me()"
`,
  )
  .action(async (query: string | undefined, options: { json?: true; role?: string; person?: string }) => {
    const text = query === undefined || query === "-" ? await readInput() : query;
    await withSession("sql", async ({ pool, database }) => {
      // The embedded database's server restores the session of each client itself.
      const after = database.pooler && !database.embedded ? cleanUp : [];
      const client = await pool.connect();
      try {
        const asSomebody = options.role !== undefined || options.person !== undefined;
        if (asSomebody) {
          await client.query("begin");
          await client.query("select set_config('role', $1, true), set_config('insights.person', $2, true)", [
            options.role ?? "none",
            options.person ?? "",
          ]);
          if (options.person !== undefined) await client.query("select track.sign_in()");
        }
        const answer: unknown = await client
          .query({ text: [text, ...after].join("\n;"), rowMode: "array" })
          .catch((error: unknown) => {
            if (errorCode(error) !== "25001" || after.length === 0) throw error;
            throw new InsightsError(String(error), {
              hint: "The connection goes through a pooler. Set DATABASE_URL to the server itself for this statement.",
              cause: error,
            });
          });
        if (asSomebody) await client.query("commit");
        const results = (Array.isArray(answer) ? answer : [answer]) as pg.QueryArrayResult[];
        for (const result of results.slice(0, results.length - after.length)) print(result, options.json === true);
      } finally {
        client.release(true);
      }
    });
  });
