import { Command, InvalidArgumentError } from "commander";
import type pg from "pg";
import { canvasReader } from "../importer/canvas.ts";
import { columnReader } from "../importer/columns.ts";
import { requireImport, requireIngest } from "../importer/deliver.ts";
import { caliperReader, xapiReader } from "../importer/dialects.ts";
import { edxReader } from "../importer/edx.ts";
import { boundMemory, type ImportOptions, importFile, type Summary } from "../importer/import.ts";
import { linesOf } from "../importer/lines.ts";
import { moodleReader } from "../importer/moodle.ts";
import { ouladReader } from "../importer/oulad.ts";
import { ImportError, nearest } from "../importer/problem.ts";
import { Rejects } from "../importer/rejects.ts";
import { segmentReader } from "../importer/segment.ts";
import { type Source, sourcesOf } from "../importer/sources.ts";
import type { Reader } from "../importer/table.ts";
import { type DateOrder, TimeFormat, type TimeRules } from "../importer/time.ts";
import { timeZone } from "../importer/time-zone.ts";
import { step } from "../terminal.ts";
import { forgetImport, isImported } from "./forget-import.ts";
import { withSession } from "./session.ts";

const NOTES = `
FILE is plain, compressed with gzip, or a zip archive, which is detected by its contents; - reads standard input. Text
is UTF-8 or UTF-16. Several files are imported one after the other, after all of them were checked.

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

timed(common(command.command("moodle <file...>"), "moodle"))
  .description("a log of Moodle: the download of its report, logstore_standard_log as CSV, or a research data set")
  .option("--course <number>", "the course of all rows: the report of one course does not name it in each row")
  .action((files: string[], options: Common & TimeRules & { course?: string }) =>
    run(files, () => moodleReader(options), options),
  );

common(command.command("edx <file...>"), "edx")
  .description("a tracking log of Open edX, as JSON lines")
  .action((files: string[], options: Common) => run(files, edxReader, options));

common(command.command("oulad <file...>"), "oulad")
  .description("a table of OULAD, in the directory of the others: studentVle, studentRegistration, …")
  .action((files: string[], options: Common) => run(files, ouladReader, options));

common(command.command("xapi <file...>"), "xapi")
  .description("xAPI statements as JSON lines: each line is a statement or a list of statements")
  .action((files: string[], options: Common) => run(files, xapiReader, options));

common(command.command("canvas <file...>"), "canvas")
  .description(
    "Canvas: Live Events as JSON lines, page views as CSV or JSON, web_logs of Canvas Data as TSV, CSV or JSON",
  )
  .action((files: string[], options: Common) => run(files, canvasReader, options));

common(command.command("caliper <file...>"), "caliper")
  .description("Caliper envelopes or events, as JSON lines")
  .action((files: string[], options: Common) => run(files, caliperReader, options));

common(command.command("segment <file...>"), "segment")
  .description("Segment messages as JSON lines: each line is a message, a list of messages or a whole request")
  .action((files: string[], options: Common) => run(files, segmentReader, options));

timed(common(command.command("csv <file...>"), "csv"))
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
  .action((files: string[], options: Common & ColumnOptions, self: Command) => {
    const { id, property, source: _, show: __, rejects: ___, dryRun: ____, replace: _____, ...mapping } = options;
    if ((mapping.event === undefined) === (mapping.eventColumn === undefined)) {
      self.error("error: give the name of the events with --event, or the column of their names with --event-column", {
        exitCode: 2,
      });
    }
    const columns = { ...mapping, properties: property, ...(id === undefined ? {} : { messageId: id }) };
    return run(files, () => columnReader(columns), options);
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
    .option("--source <name>", "name of the source of the rows; ids are unique within it", parseSource, source)
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

type MakeReader = (source: Source) => Reader | Promise<Reader>;

/** All files are checked before the first row of the first one is stored. */
async function run(paths: string[], makeReader: MakeReader, options: Common): Promise<void> {
  if (paths.filter((path) => path === "-").length > 1) {
    throw new ImportError("standard input is named twice", "it can be read once");
  }
  boundMemory();
  const rejects = new Rejects(options.show, options.rejects);
  try {
    const files: { source: Source; reader: Reader }[] = [];
    const sources = (await Promise.all(paths.map(sourcesOf))).flat();
    const several = sources.length > 1;
    for (const source of sources) {
      const reader = await makeReader(source);
      if (!source.isStream) {
        await source.check();
        const { scan: work } = reader;
        if (work !== undefined) await naming(several ? source : undefined, () => scan(source, work));
      }
      files.push({ source, reader });
    }
    if (files.length === 0) throw new ImportError("there is nothing to import", "name a file of events");
    const importAll = async (importOne: ImportOne): Promise<void> => {
      const summaries: Summary[] = [];
      for (const { source, reader } of files) {
        rejects.begin(several ? source.name : undefined);
        const work = (): Promise<Summary> => importSource(source, reader, importOne, options.source, rejects);
        summaries.push(await naming(several ? source : undefined, work));
      }
      const all = sum(summaries);
      if (several) {
        console.log(`${files.length} files: ${options.dryRun === true ? describeDry(all) : describe(all)}`);
      }
      if (summaries.some(({ rejected }) => rejected > 0)) process.exitCode = 1;
    };
    if (options.dryRun === true) return await importAll(readOnly);
    await withSession("import", async ({ pool }) => {
      await requireIngest(pool);
      await requireImport(pool, options.source);
      if (options.replace === true && (await isImported(pool, options.source))) {
        await forgetImport(pool, options.source);
      }
      await importAll((name, importing) => store(pool, name, importing));
    });
  } finally {
    for (const line of rejects.report()) console.error(line);
    await rejects.close();
  }
}

/** The error of one of several files begins with its name. */
async function naming<T>(source: Source | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (source === undefined || !(error instanceof ImportError) || error.message.includes(source.name)) throw error;
    throw new ImportError(`${source.name}: ${error.message}`, error.hint);
  }
}

type ImportOne = (name: string, importing: Omit<ImportOptions, "onProgress">) => Promise<Summary>;

async function importSource(
  file: Source,
  reader: Reader,
  importOne: ImportOne,
  source: string,
  rejects: Rejects,
): Promise<Summary> {
  const input = await file.open();
  try {
    const summary = await importOne(file.name, {
      input,
      reader,
      source,
      onRejected: (line, problem) => rejects.add(line, problem),
    });
    for (const line of reasonsOf(summary)) console.log(line);
    for (const note of reader.notes?.() ?? []) console.log(`note: ${note}`);
    if (summary.total + summary.items + summary.knownItems === 0) {
      throw new ImportError(`${file.name} has no rows`, "check that the file is the whole download");
    }
    return summary;
  } finally {
    await input.close();
  }
}

async function store(pool: pg.Pool, name: string, importing: Omit<ImportOptions, "onProgress">): Promise<Summary> {
  const started = performance.now();
  return await step(
    `Importing ${name}`,
    (bar) =>
      importFile(pool, {
        ...importing,
        onProgress: ({ read, size, accepted, duplicates, leftOut, rejected }) => {
          const rows = accepted + duplicates + leftOut + rejected;
          const seconds = (performance.now() - started) / 1_000;
          const left = size === undefined || read === 0 ? undefined : (seconds * Math.max(0, size - read)) / read;
          const speed = `${Math.round(rows / seconds).toLocaleString("en")} rows/s`;
          const note = left === undefined ? speed : `${speed}, ${timeOf(left)} left`;
          if (size === undefined) bar.update(rows, undefined, note);
          else bar.update(read, size, note);
        },
      }),
    describe,
  );
}

function timeOf(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5_400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3_600).toFixed(1)} h`;
}

function sum(summaries: readonly Summary[]): Summary {
  const counts = { total: 0, accepted: 0, duplicates: 0, leftOut: 0, rejected: 0, items: 0, knownItems: 0 };
  for (const summary of summaries) {
    for (const name of Object.keys(counts) as (keyof typeof counts)[]) counts[name] += summary[name];
  }
  return { ...counts, read: 0, size: undefined, reasons: new Map() };
}

async function scan(source: Source, work: NonNullable<Reader["scan"]>): Promise<void> {
  const input = await source.open();
  try {
    await work(linesOf(input.bytes));
  } finally {
    await input.close();
  }
}

/** Reads the whole file, and prints the first ten messages as they would be stored. */
async function readOnly(name: string, importing: Omit<ImportOptions, "onProgress">): Promise<Summary> {
  const first: { messages: unknown[]; items: unknown[] } = { messages: [], items: [] };
  const summary = await importFile(
    {
      query: (sql, values) => {
        const sent = JSON.parse(String(values?.[0])) as unknown[];
        const kept = sql.includes("track.import_items") ? first.items : first.messages;
        kept.push(...sent.slice(0, 10 - kept.length));
        const [accepted, inserted] = [sent.length, sent.length];
        return Promise.resolve({
          rows: [{ accepted, duplicates: 0, rejected: 0, errors: [], inserted, updated: 0, unchanged: 0 }],
        });
      },
    },
    importing,
  );
  for (const sent of [...first.messages, ...first.items]) console.log(JSON.stringify(sent));
  console.log(`${name}: ${describeDry(summary)}`);
  return summary;
}

const counted = (count: number, noun: string): string =>
  `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

function describeDry({ total, accepted, items }: Summary): string {
  const structure = items === 0 ? "" : ` and ${counted(items, "item")} of the structure`;
  return `${counted(total, "row")}, of which ${accepted.toLocaleString("en")} can be sent${structure}; nothing is stored`;
}

function describe({ total, accepted, duplicates, leftOut, rejected, items, knownItems }: Summary): string {
  const number = (count: number): string => count.toLocaleString("en");
  const out = leftOut === 0 ? "" : `${number(leftOut)} left out, `;
  const events = `${counted(total, "row")}: ${number(accepted)} stored, ${number(duplicates)} duplicates, ${out}${number(rejected)} rejected`;
  const structure = `${counted(items + knownItems, "item")} of the structure: ${number(items)} new or changed`;
  const parts = [...(total === 0 ? [] : [events]), ...(items + knownItems === 0 ? [] : [structure])];
  return parts.length === 0 ? "no rows" : parts.join("; ");
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

function parseSource(text: string): string {
  const name = text.trim();
  if (name === "" || name.length > 100) throw new InvalidArgumentError("Use a name of 1 to 100 characters.");
  if (name === "default") {
    throw new InvalidArgumentError('"default" has the messages of all servers without a name: it cannot be removed.');
  }
  return name;
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
