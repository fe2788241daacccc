import { basename } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { columnReader } from "../importer/columns.ts";
import { requireIngest } from "../importer/deliver.ts";
import { importFile, type Summary } from "../importer/import.ts";
import { openInput } from "../importer/input.ts";
import { moodleReader } from "../importer/moodle.ts";
import { nearest } from "../importer/problem.ts";
import { Rejects } from "../importer/rejects.ts";
import { segmentReader } from "../importer/segment.ts";
import type { Reader } from "../importer/table.ts";
import { timeZone } from "../importer/time-zone.ts";
import { step } from "../terminal.ts";
import { withSession } from "./session.ts";

const NOTES = `
FILE is plain or compressed with gzip, which is detected by its contents; - reads standard input.

Every row has an id, its own or a hash of its content, and each id is stored once: an import that was interrupted is
completed by running it again, and repeating a complete one changes nothing.

Exit status: 0 if every row of the file is in the database; 1 if a row was rejected or the import failed; 2 for an invalid
option.`;

interface Common {
  source: string;
  show: number;
  rejects?: string;
}

const command = new Command().description("Imports events from a file.").addHelpText("after", NOTES).exitOverride();

common(command.command("moodle <file>"), "moodle")
  .description("a Moodle log as CSV: user_id, event_time, action, component, event_name, event_context")
  .option("--time-zone <name>", "time zone of the times in the file", parseZone, "UTC")
  .action((file: string, options: Common & { timeZone: string }) =>
    run(file, moodleReader({ timeZone: options.timeZone }), options),
  );

common(command.command("segment <file>"), "segment")
  .description("Segment messages as JSON lines: each line is a message, a list of messages or a whole request")
  .action((file: string, options: Common) => run(file, segmentReader(), options));

common(command.command("csv <file>"), "csv")
  .description("any table of events as CSV with a header")
  .requiredOption("--person <column>", "column with the person (userId)")
  .requiredOption("--at <column>", "column with the time: ISO 8601, or seconds or milliseconds since 1970")
  .requiredOption("--event <name>", 'name of the event, such as "Course Rated"')
  .option("--item <column>", "column with the item")
  .option("--item-kind <kind>", "kind of the item: course, module, task, page, video", parseKind)
  .option("--item-title <column>", "column with the title of the item")
  .option("--id <column>", "column with the id of the row; default: a hash of the row")
  .option("--property <columns...>", "columns to store as properties, as column or name=column", [])
  .option("--time-zone <name>", "time zone of times without an offset", parseZone, "UTC")
  .option("--delimiter <character>", 'separator of the cells; "tab" for a tab', parseDelimiter, ",")
  .action((file: string, options: Common & ColumnOptions) => {
    const { id, property, source: _, show: __, rejects: ___, ...mapping } = options;
    const reader = columnReader({ ...mapping, properties: property, ...(id === undefined ? {} : { messageId: id }) });
    return run(file, reader, options);
  });

export default command;

interface ColumnOptions {
  person: string;
  at: string;
  event: string;
  item?: string;
  itemKind?: string;
  itemTitle?: string;
  id?: string;
  property: string[];
  timeZone: string;
  delimiter: string;
}

function common(command: Command, source: string): Command {
  return command
    .option("--source <name>", "name of the source of the rows; ids are unique within it", source)
    .option("--show <count>", "rejected rows to print; the others are counted", parseCount, 20)
    .option("--rejects <file>", "write all rejected rows to this file, as JSON lines")
    .addHelpText("after", NOTES);
}

async function run(file: string, reader: Reader, options: Common): Promise<void> {
  const input = await openInput(file);
  const rejects = new Rejects(options.show, options.rejects);
  try {
    const { rejected } = await withSession("import", async ({ pool }) => {
      await requireIngest(pool);
      return await step(
        `Importing ${file === "-" ? "standard input" : basename(file)}`,
        (bar) =>
          importFile(pool, {
            input,
            reader,
            source: options.source,
            onProgress: ({ read, size, accepted, duplicates, rejected }) =>
              size === undefined ? bar.update(accepted + duplicates + rejected) : bar.update(read, size),
            onRejected: (line, problem) => rejects.add(line, problem),
          }),
        describe,
      );
    });
    if (rejected > 0) process.exitCode = 1;
  } finally {
    await input.close();
    for (const line of rejects.report()) console.error(line);
    await rejects.close();
  }
}

function describe({ total, accepted, duplicates, rejected }: Summary): string {
  const [rows, stored, known, bad] = [total, accepted, duplicates, rejected].map((count) => count.toLocaleString("en"));
  return `${rows} rows: ${stored} stored, ${known} duplicates, ${bad} rejected`;
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
