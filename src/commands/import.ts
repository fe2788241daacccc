import { basename } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { columnReader } from "../importer/columns.ts";
import { requireIngest } from "../importer/deliver.ts";
import { caliperReader, canvasReader, xapiReader } from "../importer/dialects.ts";
import { edxReader } from "../importer/edx.ts";
import { type ImportOptions, importFile, type Summary } from "../importer/import.ts";
import { checkCompressed, type Input, openInput } from "../importer/input.ts";
import { linesOf } from "../importer/lines.ts";
import type { Message } from "../importer/message.ts";
import { moodleReader } from "../importer/moodle.ts";
import { ouladReader } from "../importer/oulad.ts";
import { ImportError, nearest, type Problem } from "../importer/problem.ts";
import { Rejects } from "../importer/rejects.ts";
import { segmentReader } from "../importer/segment.ts";
import type { Reader } from "../importer/table.ts";
import { type DateOrder, TimeFormat, type TimeRules } from "../importer/time.ts";
import { timeZone } from "../importer/time-zone.ts";
import { step } from "../terminal.ts";
import { forgetImport, isImported } from "./forget-import.ts";
import { withSession } from "./session.ts";

const NOTES = `
FILE is plain or compressed with gzip, which is detected by its contents; - reads standard input. Text is UTF-8 or UTF-16.

Every row has an id, its own or a hash of its content, and each id is stored once: an import that was interrupted is
completed by running it again, and repeating a complete one changes nothing. A wrong import is removed by
insights forget-import, or by importing the file with other options and --replace. --dry-run shows the first ten messages, and
what is left out or rejected, and stores nothing.

Exit status: 0 if every row of the file is in the database or left out; 1 if a row was rejected or the import failed; 2
for an invalid option.`;

interface Common {
  source: string;
  show: number;
  rejects?: string;
  dryRun?: true;
  replace?: true;
}

const command = new Command().description("Imports events from a file.").addHelpText("after", NOTES).exitOverride();

timed(common(command.command("moodle <file>"), "moodle"))
  .description("a log of Moodle: the download of its report, logstore_standard_log as CSV, or a research data set")
  .option("--course <number>", "the course of all rows: the report of one course does not name it in each row")
  .action((file: string, options: Common & TimeRules & { course?: string }) =>
    run(file, moodleReader(options), options),
  );

common(command.command("edx <file>"), "edx")
  .description("a tracking log of Open edX, as JSON lines")
  .action((file: string, options: Common) => run(file, edxReader(), options));

common(command.command("oulad <file>"), "oulad")
  .description("a table of OULAD, in the directory of the others: studentVle, studentRegistration, …")
  .action(async (file: string, options: Common) => run(file, await ouladReader(file), options));

common(command.command("xapi <file>"), "xapi")
  .description("xAPI statements as JSON lines: each line is a statement or a list of statements")
  .action((file: string, options: Common) => run(file, xapiReader(), options));

common(command.command("canvas <file>"), "canvas")
  .description("Live Events of Canvas, as JSON lines")
  .action((file: string, options: Common) => run(file, canvasReader(), options));

common(command.command("caliper <file>"), "caliper")
  .description("Caliper envelopes or events, as JSON lines")
  .action((file: string, options: Common) => run(file, caliperReader(), options));

common(command.command("segment <file>"), "segment")
  .description("Segment messages as JSON lines: each line is a message, a list of messages or a whole request")
  .action((file: string, options: Common) => run(file, segmentReader(), options));

timed(common(command.command("csv <file>"), "csv"))
  .description("any table of events as CSV with a header")
  .requiredOption("--person <column>", "column with the person (userId)")
  .requiredOption("--at <column>", "column with the time: ISO 8601, a date such as 31/05/2024, or the time since 1970")
  .option("--event <name>", 'name of all events, such as "Course Rated"')
  .option("--event-column <column>", "column with the names of the events")
  .option("--item <column>", "column with the item")
  .option("--item-kind <kind>", "kind of the item: course, module, task, page, video", parseKind)
  .option("--item-title <column>", "column with the title of the item")
  .option("--id <column>", "column with the id of the row; default: a hash of the row")
  .option("--property <column>", "a column to store as property, as column or name=column; repeatable", collect, [])
  .option("--days-since <date>", "the column of times counts days from this date, such as 2013-10-01", parseDate)
  .option("--delimiter <character>", 'separator of the cells, "tab" for a tab; default: recognized', parseDelimiter)
  .action((file: string, options: Common & ColumnOptions, self: Command) => {
    const { id, property, source: _, show: __, rejects: ___, dryRun: ____, replace: _____, ...mapping } = options;
    if ((mapping.event === undefined) === (mapping.eventColumn === undefined)) {
      self.error("error: give the name of the events with --event, or the column of their names with --event-column", {
        exitCode: 2,
      });
    }
    const reader = columnReader({ ...mapping, properties: property, ...(id === undefined ? {} : { messageId: id }) });
    return run(file, reader, options);
  });

export default command;

interface ColumnOptions extends TimeRules {
  person: string;
  at: string;
  event?: string;
  eventColumn?: string;
  item?: string;
  itemKind?: string;
  itemTitle?: string;
  id?: string;
  property: string[];
  delimiter?: string;
}

function common(command: Command, source: string): Command {
  return command
    .option("--source <name>", "name of the source of the rows; ids are unique within it", source)
    .option("--show <count>", "rejected rows to print; the others are counted", parseCount, 20)
    .option("--rejects <file>", "write all rejected rows to this file, as JSON lines")
    .option("--replace", "remove what earlier imports of this source have stored, and import the file instead")
    .option("--dry-run", "print the first ten messages and the report, and store nothing")
    .addHelpText("after", NOTES);
}

function timed(command: Command): Command {
  return command
    .option("--time-zone <name>", "time zone of times without an offset", parseZone, "UTC")
    .option("--date-order <order>", "dmy, mdy or ymd, for dates such as 03/04/2024; default: recognized", parseOrder)
    .option("--time-format <format>", "form of the times, such as %d/%m/%Y %H:%M (strptime)", parseFormat);
}

async function run(file: string, reader: Reader, options: Common): Promise<void> {
  const rejects = new Rejects(options.show, options.rejects);
  let input: Input | undefined;
  try {
    // A stream can be read once.
    if (file !== "-") {
      await checkCompressed(file);
      if (reader.scan !== undefined) await scan(file, reader.scan);
    }
    input = await openInput(file);
    const importing = {
      input,
      reader,
      source: options.source,
      onRejected: (line: number, problem: Problem) => rejects.add(line, problem),
    };
    const name = file === "-" ? "standard input" : basename(file);
    const summary =
      options.dryRun === true
        ? await readOnly(name, importing)
        : await withSession("import", async ({ pool }) => {
            await requireIngest(pool);
            if (options.replace === true && (await isImported(pool, options.source))) {
              await forgetImport(pool, options.source);
            }
            return await step(
              `Importing ${name}`,
              (bar) =>
                importFile(pool, {
                  ...importing,
                  onProgress: ({ read, size, accepted, duplicates, leftOut, rejected }) =>
                    size === undefined
                      ? bar.update(accepted + duplicates + leftOut + rejected)
                      : bar.update(read, size),
                }),
              describe,
            );
          });
    for (const line of reasonsOf(summary)) console.log(line);
    for (const note of reader.notes?.() ?? []) console.log(`note: ${note}`);
    if (summary.total === 0) throw new ImportError(`${name} has no rows`, "check that the file is the whole download");
    if (summary.rejected > 0) process.exitCode = 1;
  } finally {
    await input?.close();
    for (const line of rejects.report()) console.error(line);
    await rejects.close();
  }
}

async function scan(file: string, work: NonNullable<Reader["scan"]>): Promise<void> {
  const input = await openInput(file);
  try {
    await work(linesOf(input.bytes));
  } finally {
    await input.close();
  }
}

/** Reads the whole file, and prints the first ten messages as they would be stored. */
async function readOnly(name: string, importing: Omit<ImportOptions, "onProgress">): Promise<Summary> {
  const first: Message[] = [];
  const summary = await importFile(
    {
      query: (_sql, values) => {
        const messages = JSON.parse(String(values?.[0])) as Message[];
        first.push(...messages.slice(0, 10 - first.length));
        return Promise.resolve({
          rows: [{ accepted: messages.length, duplicates: 0, rejected: 0, errors: [] }],
        });
      },
    },
    importing,
  );
  for (const message of first) console.log(JSON.stringify(message));
  const [rows, readable] = [summary.total, summary.accepted].map((count) => count.toLocaleString("en"));
  console.log(`${name}: ${rows} rows, of which ${readable} can be sent; nothing is stored`);
  return summary;
}

function describe({ total, accepted, duplicates, leftOut, rejected }: Summary): string {
  const [rows, stored, known, out, bad] = [total, accepted, duplicates, leftOut, rejected].map((count) =>
    count.toLocaleString("en"),
  );
  return `${rows} rows: ${stored} stored, ${known} duplicates, ${leftOut === 0 ? "" : `${out} left out, `}${bad} rejected`;
}

/** The rows that are not stored, by reason. */
function reasonsOf({ reasons }: Summary): string[] {
  return [...reasons]
    .toSorted(([, one], [, other]) => other.count - one.count)
    .map(([what, { count, line, isLeftOut }]) => {
      const rows =
        count === 1 ? `1 row, line ${line}` : `${count.toLocaleString("en")} rows, the first is line ${line}`;
      return `${isLeftOut ? "left out" : "rejected"}: ${what} (${rows})`;
    });
}

function collect(text: string, former: string[]): string[] {
  return [...former, text];
}

function parseOrder(text: string): DateOrder {
  if (text === "dmy" || text === "mdy" || text === "ymd") return text;
  throw new InvalidArgumentError("Use dmy, mdy or ymd.");
}

function parseFormat(text: string): string {
  try {
    new TimeFormat(text);
    return text;
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? `${error.message}.` : String(error));
  }
}

function parseDate(text: string): number {
  const day = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
  if (!Number.isNaN(day) && new Date(day).toISOString().startsWith(text)) return day;
  throw new InvalidArgumentError("Use a date such as 2013-10-01.");
}

function parseZone(name: string): string {
  const zone = timeZone(name);
  if (zone !== undefined) return name;
  const near = nearest(name, Intl.supportedValuesOf("timeZone"));
  throw new InvalidArgumentError(
    `There is no time zone "${name}"${near === undefined ? "." : `; did you mean ${near}?`} Names look like Europe/Berlin.`,
  );
}

function parseKind(text: string): string {
  if (/^[a-z][a-z0-9_]{0,62}$/.test(text)) return text;
  throw new InvalidArgumentError("Use a lower-case word, such as course.");
}

function parseCount(text: string): number {
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 0) throw new InvalidArgumentError("Use a whole number, 0 or more.");
  return count;
}

function parseDelimiter(text: string): string {
  if (text === "tab" || text === "\\t") return "\t";
  if (text.length === 1 && !/["\r\n]/.test(text)) return text;
  throw new InvalidArgumentError('Use one character, or "tab".');
}
