import { setFlagsFromString } from "node:v8";
import { errorCode, isUnreachable } from "../errors.ts";
import { BATCH, type IngestResult, importItems, ingest, type Queryable } from "./deliver.ts";
import type { Input } from "./input.ts";
import { FirstStatements, type Item } from "./items.ts";
import { linesOf } from "./lines.ts";
import type { Message } from "./message.ts";
import { ImportError, type Problem, reason, shown } from "./problem.ts";
import type { Reader } from "./table.ts";

export interface Progress {
  /** Bytes of the file that have been read, and its size if it is known. */
  read: number;
  size: number | undefined;
  accepted: number;
  duplicates: number;
  /** Rows that are right, but nothing that a known person did. */
  leftOut: number;
  rejected: number;
  /** Items of the structure of courses: those that were stored or changed, and those that were known. */
  items: number;
  knownItems: number;
}

export interface Summary extends Progress {
  /** Accepted, duplicate, left out and rejected messages together: every message of the file. */
  total: number;
  /** The rows that are not stored, by reason: their number, and the line of the first one. */
  reasons: ReadonlyMap<string, Reason>;
}

export interface Reason {
  count: number;
  line: number;
  isLeftOut: boolean;
}

export interface ImportOptions {
  input: Input;
  reader: Reader;
  /** Message ids are unique within a source. */
  source: string;
  onProgress?: (progress: Progress) => void;
  /** Called for each rejected row, in the order of the file within a batch. */
  onRejected?: (line: number, problem: Problem) => void;
}

const MOST_REASONS = 100;

/**
 * Rows are garbage soon after they are sent. Otherwise V8 gives them ever more space, up to 200 MB, before it collects
 * them, without being faster. For a process that imports only.
 */
export function boundMemory(): void {
  setFlagsFromString("--semi-space-growth-factor=1");
}

/**
 * Streams a file into `track.ingest`. The next batch is read while the database processes the current one. Memory holds
 * two batches, a few bytes per row if rows have no ids, and as many per item of a structure.
 *
 * A batch is one transaction, and every message has an id that is determined by the file alone: after an interruption,
 * repeating the import stores the missing messages and nothing twice.
 */
export async function importFile(database: Queryable, options: ImportOptions): Promise<Summary> {
  const { input, reader, source, onProgress, onRejected } = options;
  const counts = { accepted: 0, duplicates: 0, leftOut: 0, rejected: 0, items: 0, knownItems: 0 };
  const reasons = new Map<string, Reason>();
  const progress = (): Progress => ({ read: input.read(), size: input.size, ...counts });
  const reject = (line: number, problem: Problem): void => {
    const isLeftOut = problem.isLeftOut === true;
    counts[isLeftOut ? "leftOut" : "rejected"] += 1;
    // Reasons with values of their own are counted together.
    const [, field = "", rest = problem.what] = /^("\w+"): (.*)$/s.exec(problem.what) ?? [];
    const what = `${field === "" ? "" : `${field}: `}${rest.replaceAll(/"[^"]*"/g, "…")}`.slice(0, 200);
    const known = reasons.get(what);
    if (known !== undefined) known.count += 1;
    else if (reasons.size < MOST_REASONS) reasons.set(what, { count: 1, line, isLeftOut });
    if (!isLeftOut) onRejected?.(line, problem);
  };

  let stored = 0;
  let underWay: Promise<void> = Promise.resolve();
  const send = async (messages: Message[], lines: number[], items: Item[], itemLines: number[]): Promise<void> => {
    const failed = (error: unknown): never => {
      throw isLost(error) ? interrupted(error, stored, counts) : error;
    };
    const described = await importItems(database, source, items).catch(failed);
    counts.items += described.inserted + described.updated;
    counts.knownItems += described.unchanged;
    for (const error of described.errors) reject(itemLines[error.index] ?? 0, problemOf(error, items[error.index]));
    const result = await ingest(database, source, messages, reader.keptIds).catch(failed);
    stored = lines.at(-1) ?? stored;
    counts.accepted += result.accepted;
    counts.duplicates += result.duplicates;
    for (const error of result.errors) reject(lines[error.index] ?? 0, problemOf(error, messages[error.index]));
    onProgress?.(progress());
  };

  let messages: Message[] = [];
  let lines: number[] = [];
  let items: Item[] = [];
  let itemLines: number[] = [];
  const first = new FirstStatements();
  const state = (line: number, item: Item): void => {
    const stated = first.of(item);
    if (stated === undefined) return;
    items.push(stated);
    itemLines.push(line);
  };
  try {
    for await (const readings of reader(linesOf(input.bytes))) {
      for (const reading of readings) {
        if ("problem" in reading) {
          reject(reading.line, reading.problem);
          continue;
        }
        if ("item" in reading) {
          state(reading.line, reading.item);
        } else {
          messages.push(reading.message);
          lines.push(reading.line);
          const parent = reader.parentKind === undefined ? undefined : reading.message.properties?.["parent"];
          if (typeof parent === "string") state(reading.line, { item: parent, kind: reader.parentKind });
        }
        if (messages.length < BATCH && items.length < BATCH) continue;
        await underWay;
        underWay = send(messages, lines, items, itemLines);
        // A rejection is handled at the next await; until then it must not count as unhandled.
        underWay.catch(() => undefined);
        [messages, lines, items, itemLines] = [[], [], [], []];
      }
    }
  } finally {
    // A truncated file is stored up to the error.
    await underWay;
    await send(messages, lines, items, itemLines);
  }
  const { accepted, duplicates, leftOut, rejected } = counts;
  return { ...progress(), total: accepted + duplicates + leftOut + rejected, reasons };
}

/** The server was stopped, or the connection to it was: no batch, but the whole command is run again. */
export function isLost(error: unknown): boolean {
  if (isUnreachable(error)) return true;
  if (!(error instanceof Error)) return false;
  return (
    /^(08|57P0)|^E[A-Z]+$/.test(errorCode(error) ?? "") ||
    /terminat|Connection ended|not currently accepting/.test(error.message)
  );
}

function interrupted(error: unknown, line: number, counts: Pick<Progress, "accepted" | "duplicates">): ImportError {
  const [rows, known] = [counts.accepted, counts.duplicates].map((count) => count.toLocaleString("en"));
  return new ImportError(
    `the connection to the database was lost after line ${line.toLocaleString("en")}: ${reason(error)}`,
    `${rows} rows are stored, ${known} were before. Run the same command again: it stores the others, and none twice`,
  );
}

function problemOf(error: IngestResult["errors"][number], message: Message | Item | undefined): Problem {
  return {
    what: `${error.message} (${error.code})`,
    ...(message === undefined ? {} : { value: shown(JSON.stringify(message)) }),
    ...(error.hint == null ? {} : { hint: error.hint }),
  };
}
