import Table from "cli-table3";
import { Command } from "commander";
import type pg from "pg";
import { withSession } from "./session.ts";

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

async function readInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString("utf8");
}

export default new Command()
  .description(
    "Runs SQL on the configured database, also while `insights start` runs, and prints the answer as a table.",
  )
  .argument("[query]", "one or more statements; - or nothing reads them from the standard input")
  .option("--json", "print the rows as JSON, one line a statement")
  .option("--role <role>", "run as this role, such as insights_analyst")
  .option("--person <person>", "with --role insights_learner: as this person")
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
    await withSession("sql", async ({ pool }) => {
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
        const answer: unknown = await client.query({ text, rowMode: "array" });
        if (asSomebody) await client.query("commit");
        for (const result of (Array.isArray(answer) ? answer : [answer]) as pg.QueryArrayResult[]) {
          print(result, options.json === true);
        }
      } finally {
        client.release(true);
      }
    });
  });
