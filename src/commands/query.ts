import { once } from "node:events";
import { createReadStream, createWriteStream, rmSync } from "node:fs";
import { mkdtemp, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import Table from "cli-table3";
import { Command, InvalidArgumentError, Option } from "commander";
import pg from "pg";
import { withClient } from "../database/connect.ts";
import { errorCode, InsightsError } from "../errors.ts";
import { readInput, type Session, withSession } from "./session.ts";
import { longest } from "./shutdown.ts";

const formats = ["table", "csv", "json"] as const;
const roles = ["analyst", "admin", "worker", "instructor", "learner", "visitor"] as const;

interface Options {
  format: (typeof formats)[number];
  output?: string;
  as: (typeof roles)[number];
  person?: string;
  reason?: string;
  set?: Record<string, unknown>;
  list?: true;
  raw?: true;
}

/** Rows in memory at a time. */
const batch = 1000;

/** The values of a column: only texts are guarded in CSV, and numbers, booleans and JSON are not quoted in JSON. */
type Kind = "text" | "number" | "boolean" | "json" | "time" | "other";

interface Column {
  name: string;
  kind: Kind;
}

/** The name of a saved query, or of a function with its schema; all else is SQL. */
const nameOfQuery = /^[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_]*)?$/;

/** PostgreSQL's text of a date or a time in UTC, as ISO 8601. The other texts, such as `infinity`, are returned. */
export function isoTime(text: string): string {
  const [, year = "", rest = "", time, zone = "", era] =
    /^(\d{4,})(-\d\d-\d\d)(?: (\d\d:\d\d:\d\d(?:\.\d+)?)(\+00)?)?( BC)?$/.exec(text) ?? [];
  if (year === "") return text;
  // Years before 1 and after 9999 have a sign and six digits. Year 0 is 1 BC.
  const number = era === undefined ? Number(year) : 1 - Number(year);
  const digits = String(Math.abs(number)).padStart(6, "0");
  const iso = number >= 0 && number <= 9999 ? String(number).padStart(4, "0") : `${number < 0 ? "-" : "+"}${digits}`;
  return `${iso}${rest}${time === undefined ? "" : `T${time}${zone === "" ? "" : "Z"}`}`;
}

/**
 * A field of a CSV file, as in RFC 4180. Null is empty, and an empty text is "" (as in PostgreSQL's copy). With `guard`,
 * a text that a spreadsheet would evaluate as a formula begins with an apostrophe.
 */
export function csvField(value: string | null, guard: boolean): string {
  if (value === null) return "";
  const text = guard && /^[=+\-@\t\r\n＝＋－＠]/.test(value) ? `'${value}` : value;
  return text === "" || /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A value of a JSON object, from its text. */
function jsonValue(value: string | null, kind: Kind): string {
  if (value === null) return "null";
  if (kind === "json" || kind === "boolean") return value;
  // NaN and Infinity are not numbers in JSON, nor is an amount of money.
  if (kind === "number" && /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(value)) return value;
  return JSON.stringify(value);
}

/** By the category of the type (pg_type.typcategory). */
const kinds: Record<string, Kind> = { N: "number", B: "boolean", D: "time", S: "text", E: "text", X: "text" };

/** The values of the protocol, as PostgreSQL writes them. */
const asText = { getTypeParser: () => (value: string) => value };

async function ask<Row extends unknown[]>(
  client: pg.PoolClient,
  text: string,
  values: unknown[] = [],
): Promise<{ rows: Row[]; fields: pg.FieldDef[] }> {
  // The extended protocol accepts one statement only.
  const query = { text, values, rowMode: "array" as const, types: asText, queryMode: "extended" };
  const { rows, fields } = await client.query<Row>(query as pg.QueryArrayConfig);
  return { rows, fields };
}

/** The columns of a statement, and the statement that returns them as texts; lists and composite values are JSON. */
async function describe(client: pg.PoolClient, statement: string): Promise<{ columns: Column[]; rows: string }> {
  const { fields } = await ask(client, `select * from (\n${statement}\n) as answer limit 0`);
  if (fields.length === 0) {
    throw new InsightsError("the query has no columns", { hint: "Name columns, or use *." });
  }
  const { rows: types } = await ask<[string, string, string, string]>(
    client,
    "select oid, typcategory, typtype, typname from pg_catalog.pg_type where oid = any ($1)",
    [fields.map(({ dataTypeID }) => dataTypeID)],
  );
  const columns = fields.map(({ name, dataTypeID }, index) => {
    const [, category = "", type = "", typeName = ""] = types.find(([oid]) => oid === String(dataTypeID)) ?? [];
    const place = `answer.c${index}`;
    const isNested = category === "A" || type === "c" || typeName === "record";
    const isJson = isNested || typeName === "json" || typeName === "jsonb";
    const kind = isJson ? "json" : (kinds[category] ?? "other");
    // In the protocol, a boolean is "t" or "f".
    const text = isNested ? `pg_catalog.to_jsonb(${place})` : kind === "boolean" ? `${place}::pg_catalog.text` : place;
    return { name, kind, text };
  });
  const names = fields.map((_, index) => `c${index}`).join(", ");
  return {
    columns: columns.map(({ name, kind }) => ({ name, kind })),
    rows: `select ${columns.map(({ text }) => text).join(", ")} from (\n${statement}\n) as answer (${names})`,
  };
}

type Cells = (string | null)[];

/** Times in the format of ISO 8601. */
function withIsoTimes(rows: Cells[], columns: Column[]): Cells[] {
  for (const row of rows) {
    for (const [index, { kind }] of columns.entries()) {
      const value = row[index] ?? null;
      if (kind === "time" && value !== null) row[index] = isoTime(value);
    }
  }
  return rows;
}

async function* readCursor(client: pg.PoolClient, columns: Column[]): AsyncGenerator<Cells[]> {
  for (;;) {
    const { rows } = await ask<Cells>(client, `fetch ${batch} from answer`);
    if (rows.length > 0) yield withIsoTimes(rows, columns);
    if (rows.length < batch) return;
  }
}

async function* inBatches(rows: Cells[], columns: Column[]): AsyncGenerator<Cells[]> {
  for (let start = 0; start < rows.length; start += batch) {
    yield withIsoTimes(rows.slice(start, start + batch), columns);
  }
}

/** The text of the rows, in pieces. */
async function* format(columns: Column[], batches: AsyncIterable<Cells[]>, options: Options): Pieces {
  const guard = options.raw !== true;
  if (options.format === "csv") {
    yield { text: `${columns.map(({ name }) => csvField(name, guard)).join(",")}\n`, rows: 0 };
    for await (const rows of batches) {
      const lines = rows.map((row) =>
        row.map((value, index) => csvField(value, guard && columns[index]?.kind === "text")).join(","),
      );
      yield { text: `${lines.join("\n")}\n`, rows: rows.length };
    }
  } else if (options.format === "json") {
    const names = columns.map(({ name }) => JSON.stringify(name));
    let start = "[";
    for await (const rows of batches) {
      const lines = rows.map((row) => {
        const members = row.map(
          (value, index) => `${names[index]}:${jsonValue(value, columns[index]?.kind ?? "text")}`,
        );
        const line = `${start}\n{${members.join(",")}}`;
        start = ",";
        return line;
      });
      yield { text: lines.join(""), rows: rows.length };
    }
    yield { text: start === "[" ? "[]\n" : "\n]\n", rows: 0 };
  } else {
    const table = new Table({ head: columns.map(({ name }) => name), style: { head: [], border: [] } });
    let more = "";
    for await (const rows of batches) {
      // The width of a column depends on all rows of a table.
      if (table.length > 0) {
        more = "\nThere are more: --format csv or json prints all.";
        break;
      }
      for (const row of rows) table.push(row.map((value) => value ?? ""));
    }
    const rows = table.length;
    yield { text: `${table.toString()}\n${rows} ${rows === 1 ? "row" : "rows"}${more}\n`, rows };
  }
}

type Pieces = AsyncIterable<{ text: string; rows: number }>;

async function* textOf(pieces: Pieces): AsyncGenerator<string> {
  for await (const { text } of pieces) yield text;
}

async function writeToStdout(texts: AsyncIterable<string | Buffer>, signal: AbortSignal): Promise<void> {
  for await (const text of texts) {
    signal.throwIfAborted();
    if (!process.stdout.write(text)) await once(process.stdout, "drain", { signal });
  }
}

/** Writes a file that is complete whenever it has its name; a device or a pipe is written to directly. */
async function writeFile(path: string, pieces: Pieces, signal: AbortSignal): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  const direct = found !== undefined && !found.isFile();
  const partial = direct ? path : join(dirname(path), `.${basename(path)}.${process.pid}`);
  let count = 0;
  const texts = async function* (): AsyncGenerator<string> {
    for await (const { text, rows } of pieces) {
      count += rows;
      yield text;
    }
  };
  try {
    await pipeline(texts, createWriteStream(partial), { signal });
    if (!direct) await rename(partial, path);
    return count;
  } catch (error) {
    if (!direct) await rm(partial, { force: true });
    // Errors of the query have no system call.
    if (!(error instanceof Error) || !("syscall" in error) || error instanceof pg.DatabaseError) throw error;
    throw new InsightsError(`cannot write ${path} (${errorCode(error)})`, {
      hint: "Give the name of a file in a directory that exists, that you may write to, and that has enough space.",
      cause: error,
    });
  }
}

/**
 * Prints the rows. Those of the embedded database are written to a temporary file first: a reader that pauses, such as
 * `less`, would keep its only session.
 */
async function print(pieces: Pieces, signal: AbortSignal, spool: boolean): Promise<() => Promise<void>> {
  if (!spool) {
    await writeToStdout(textOf(pieces), signal);
    return async () => {};
  }
  const directory = await mkdtemp(join(tmpdir(), "insights-query-"));
  const remove = () => rmSync(directory, { recursive: true, force: true });
  process.once("exit", remove);
  const path = join(directory, "rows");
  await writeFile(path, pieces, signal);
  return () => writeToStdout(createReadStream(path), signal);
}

/** Hints for errors that come without one. */
const hints: Record<string, string> = {
  "25006": "insights query only reads. insights sql runs statements that write.",
  "42601": "Give one statement: select, values, table or with.",
  "42501": "--as admin runs the query as an administrator, if the login is a member of the role.",
};

/** The function that a query by name calls, when it logs what it reads: it is volatile. */
async function logsItsReads(client: pg.PoolClient, statement: string): Promise<boolean> {
  const [, name = ""] = /^select \* from ([a-z_]+\.[a-z0-9_]+)\(/.exec(statement) ?? [];
  const { rows } = await client.query<{ logs: boolean }>(
    "select provolatile = 'v' as logs from pg_catalog.pg_proc where oid = pg_catalog.to_regproc($1)",
    [name],
  );
  return rows[0]?.logs ?? false;
}

/**
 * Opens a read-only transaction under the role and runs the query in it. A function that logs which records of people it
 * reads, called by its name, runs in one that is committed before the rows are printed.
 */
async function run<T>(
  { pool, database }: Session,
  query: string,
  options: Options,
  signal: AbortSignal,
  put: (pieces: Pieces) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query("begin");
    await client.query(
      `set local timezone to 'UTC'; set local datestyle to 'ISO, MDY'; set local intervalstyle to 'iso_8601';
       set local extra_float_digits to 1; set local bytea_output to 'hex'; set local cursor_tuple_fraction to 1`,
    );
    const { rows } = await client.query<{ process: number }>("select pg_catalog.pg_backend_pid() as process");
    signal.throwIfAborted();
    signal.addEventListener("abort", () => {
      // The embedded database cannot cancel a statement: it ends with the process, or at its limit of time.
      setTimeout(() => process.exit(), database.embedded ? 0 : longest).unref();
      if (database.embedded) return;
      withClient(database.url, (other) =>
        other.query("select pg_catalog.pg_cancel_backend($1)", [rows[0]?.process]),
      ).catch(() => {});
    });
    await client.query("select set_config('role', $1, true), set_config('insights.person', $2, true)", [
      `insights_${options.as}`,
      options.person ?? "",
    ]);
    if (options.person !== undefined && ["instructor", "learner"].includes(options.as)) {
      await client.query("select track.sign_in()");
    }
    const statement = nameOfQuery.test(query)
      ? await client
          .query<{ statement: string }>("select analytics.query_statement($1, $2) as statement", [
            query,
            options.set ?? {},
          ])
          .then((answer) => answer.rows[0]?.statement ?? "")
      : query.replace(/;\s*$/, "");
    const logs = nameOfQuery.test(query) && (await logsItsReads(client, statement));
    if (logs) {
      await client.query("select set_config('insights.read_reason', $1, true)", [options.reason ?? ""]);
    } else {
      await client.query("set transaction read only");
    }
    const { columns, rows: answer } = await describe(client, statement);
    if (logs) {
      const { rows: read } = await ask<Cells>(client, answer);
      // Only rows whose log is stored are printed.
      await client.query("commit");
      return await put(format(columns, inBatches(read, columns), options));
    }
    await ask(client, `declare answer no scroll cursor for\n${answer}`);
    return await put(format(columns, readCursor(client, columns), options));
  } catch (error) {
    const hint = hints[errorCode(error) ?? ""];
    if (error instanceof pg.DatabaseError && hint !== undefined) error.hint ??= hint;
    throw error;
  } finally {
    // Ends the transaction, also in the middle of the rows.
    client.release(true);
  }
}

/** `name=value`. A list or an object is written as JSON. */
function argument(text: string, before: Record<string, unknown> = {}): Record<string, unknown> {
  const [, name, value = ""] = /^([a-z_][a-z0-9_]*)=(.*)$/s.exec(text) ?? [];
  if (name === undefined) throw new InvalidArgumentError("Use name=value, such as since=2026-01-01.");
  let parsed: unknown = value;
  if (/^\s*[[{]/.test(value)) {
    try {
      parsed = JSON.parse(value);
    } catch {
      // A text that begins like a list.
    }
  }
  return { ...before, [name]: parsed };
}

const list = "select name, function_name, arguments, created_by, description from analytics.saved_queries()";

export default new Command()
  .description(
    "Prints the rows of a query, of a saved query or of a function. It runs in a read-only transaction, as an analyst " +
      "unless --as gives another role, on the configured database, also while `insights start` runs.",
  )
  .argument(
    "[query]",
    "a statement that returns rows, the name of a saved query, or a function with its schema; - reads a statement from standard input",
  )
  .addOption(new Option("-f, --format <format>", "form of the rows").choices(formats).default("table"))
  .option("-o, --output <file>", "write to this file; it gets its name when it is complete")
  .option("--set <name=value>", "argument of a saved query or a function; repeat it for several", argument)
  .addOption(new Option("--as <role>", "role that the query runs as").choices(roles).default("analyst"))
  .option("--person <person>", "with --as learner or instructor: as this person")
  .option("--reason <reason>", "why records of people are read, for functions that log it")
  .option("--raw", "in CSV, texts as they are, also those that a spreadsheet would evaluate as a formula")
  .option("--list", "list the saved queries")
  .addHelpText(
    "after",
    `
Times are in UTC and, like durations, in the format of ISO 8601; lists and composite values are JSON.
CSV is that of RFC 4180 in UTF-8, with line breaks as on Unix; null is empty, and an empty text is "". A text that begins
with = + - @, a tab or a line break gets an apostrophe in front, so that no spreadsheet evaluates it; --raw leaves it.
A table has at most ${batch} rows; CSV and JSON are written as they are read, in any number.
Arguments of --set are checked against the function; times can be relative to now: since="-28 days".

Examples:
  insights query --list
  insights query popular-courses --set since=2026-01-01 --format csv --output courses.csv
  insights query analytics.trend --set "event_name=Task Submitted" --set bucket=week
  insights query "select * from analytics.popular_items('page', top => 100)" --format csv | head -20
  insights query "table track.event" --as admin --format json --output events.json

Exit codes: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C.
`,
  )
  .action(async (given: string | undefined, options: Options, command: Command) => {
    if ((given === undefined) !== (options.list === true)) {
      command.error("error: give a query, or --list", { exitCode: 2 });
    }
    const query = given === "-" ? await readInput() : (given ?? list);
    if (options.set !== undefined && !nameOfQuery.test(query)) {
      command.error("error: --set is for saved queries and functions", { exitCode: 2 });
    }

    const interrupt = new AbortController();
    const onSignal = (signal: NodeJS.Signals): void => {
      process.exitCode = signal === "SIGINT" ? 130 : 143;
      interrupt.abort();
    };
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, onSignal);
    try {
      const printRest = await withSession("query", (session) =>
        run(session, query, options, interrupt.signal, async (pieces) => {
          if (options.output === undefined || options.output === "-") {
            return await print(pieces, interrupt.signal, session.database.embedded);
          }
          const rows = await writeFile(options.output, pieces, interrupt.signal);
          return async () => console.log(`${rows} ${rows === 1 ? "row" : "rows"} in ${options.output}`);
        }),
      );
      await printRest();
    } catch (error) {
      if (!interrupt.signal.aborted) throw error;
      console.error("cancelled");
    } finally {
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, onSignal);
    }
  });
