import { type BadRow, type Row, rowsOf } from "./csv.ts";
import type { Item } from "./items.ts";
import type { Line } from "./lines.ts";
import type { Message } from "./message.ts";
import { ImportError, nearest, type Problem, shown } from "./problem.ts";
import type { Times } from "./time.ts";

/** The result of reading a line of the file: a message, an item of a structure, or the reason why there is none. */
export type Reading =
  | { line: number; message: Message }
  | { line: number; item: Item }
  | { line: number; problem: Problem };

/** A row, as it was read. */
export type Outcome = Message | Item | Problem;

export function readingOf(line: number, outcome: Outcome): Reading {
  if ("what" in outcome) return { line, problem: outcome };
  return "messageId" in outcome ? { line, message: outcome } : { line, item: outcome };
}

/** Reads a file format. */
export interface Reader {
  (lines: AsyncIterable<Line[]>): AsyncGenerator<Reading[], void, undefined>;
  /** Kind of the parents of its messages, where all of them have the same. */
  parentKind?: string;
  /** Ids of `track.placeholder_id` that name people in this format. */
  keptIds?: readonly string[];
  /** Reads what must be known of the whole file before its first row can be read, such as the order of its dates. */
  scan?: (lines: AsyncIterable<Line[]>) => Promise<void>;
  /** Facts about the file that were recognized, for the report. */
  notes?: () => string[];
}

/** The header of a CSV file: finds columns by their names. */
export class Header {
  readonly names: readonly string[];

  constructor(names: readonly string[]) {
    this.names = names.map((name) => name.trim());
  }

  has(name: string): boolean {
    return this.names.includes(name);
  }

  /** The position of a column, which must exist exactly once. */
  position(name: string): number {
    const position = this.names.indexOf(name);
    if (position === -1) {
      const near = nearest(name, this.names);
      throw new ImportError(
        `the file has no column "${name}"`,
        `${near === undefined ? "" : `did you mean "${near}"? `}its columns are: ${shown(this.names.join(", "))}`,
      );
    }
    if (this.names.indexOf(name, position + 1) !== -1) {
      throw new ImportError(`the file has two columns "${name}"`, "rename one of them");
    }
    return position;
  }
}

type Convert = (cells: string[], line: number) => Outcome | Outcome[];

/**
 * Reads a CSV file with a header; `prepare` looks up its columns and returns the function that makes the messages of a
 * row.
 */
export async function* readTable(
  lines: AsyncIterable<Line[]>,
  delimiter: string | undefined,
  prepare: (header: Header) => Convert,
  onGuess?: (delimiter: string) => void,
  unquoted?: string,
): AsyncGenerator<Reading[], void, undefined> {
  let width = 0;
  let convert: Convert | undefined;
  for await (const rows of rowsOf(lines, delimiter, onGuess, unquoted)) {
    const readings: Reading[] = [];
    for (const row of rows) {
      if (convert === undefined) {
        const header = headerOf(row);
        width = header.names.length;
        convert = prepare(header);
      } else if ("problem" in row) {
        readings.push(row);
      } else if (row.cells.length !== width) {
        const what = `${row.cells.length} cells where the header has ${width}`;
        readings.push({ line: row.line, problem: { what, value: shown(row.cells.join(delimiter ?? ",")) } });
      } else {
        for (const each of [convert(row.cells, row.line)].flat()) readings.push(readingOf(row.line, each));
      }
    }
    if (readings.length > 0) yield readings;
  }
  if (convert === undefined) throw new ImportError("the file is empty", "its first line must name the columns");
}

/** Notes the times of a file whose dates are in an order that must be recognized; stops where they are not. */
export async function noteTimes(
  lines: AsyncIterable<Line[]>,
  delimiter: string | undefined,
  times: Times,
  timeOf: (header: Header) => (cells: string[]) => string,
): Promise<void> {
  if (!times.isOpen) return;
  let others = 0;
  const rows = readTable(lines, delimiter, (header) => {
    const cell = timeOf(header);
    return (cells, line) => {
      others = times.note(cell(cells).trim(), line) ? Number.NEGATIVE_INFINITY : others + 1;
      return { what: "" };
    };
  });
  for await (const _ of rows) if (others > 1_000) break;
  times.decide();
}

function headerOf(row: Row | BadRow): Header {
  if ("cells" in row) return new Header(row.cells);
  if (/^\s*[[{]/.test(row.problem.value ?? "")) {
    throw new ImportError(
      `line ${row.line} should name the columns, but it is JSON: ${row.problem.value}`,
      "JSON lines are read by insights import edx, xapi, canvas, caliper and segment",
    );
  }
  throw new ImportError(`line ${row.line} should name the columns, but it is ${row.problem.what}`, row.problem.hint);
}
