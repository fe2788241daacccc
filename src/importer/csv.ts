import { type Line, LONGEST_LINE, tooLong } from "./lines.ts";
import type { Problem } from "./problem.ts";
import { shown } from "./problem.ts";
import { decode } from "./text.ts";

export interface Row {
  /** The line on which it starts. */
  line: number;
  cells: string[];
}

export interface BadRow {
  line: number;
  problem: Problem;
}

/** A quoted cell may span lines up to this limit, so that an unpaired quote does not consume the rest of the file. */
const MOST_LINES = 1_000;

/**
 * Reads CSV as RFC 4180 describes it. Line breaks inside cells become line feeds; empty lines are skipped.
 *
 * Common parsers were not usable for damaged files: after one unpaired quote they stop, or read everything up to the
 * next quote as a single cell. This one rejects the line with the quote alone, and continues with the next line.
 *
 * `unquoted`: the separator of files in which a quote is a character like any other.
 */
export async function* rowsOf(
  lines: AsyncIterable<Line[]>,
  delimiter?: string,
  onGuess: (delimiter: string) => void = () => {},
  unquoted?: string,
): AsyncGenerator<(Row | BadRow)[], void, undefined> {
  let reader: RowReader | undefined;
  for await (const batch of lines) {
    if (reader === undefined) {
      const guess = delimiter ?? guessDelimiter(batch);
      if (delimiter === undefined) onGuess(guess);
      reader = new RowReader(guess, guess !== unquoted);
    }
    yield reader.read(batch);
  }
  if (reader !== undefined) yield reader.end();
}

/** The character that divides the first line that is not empty into most cells: a comma, semicolon, tab or bar. */
function guessDelimiter(lines: readonly Line[]): string {
  const texts = lines.map(({ bytes }) => (bytes === undefined ? "" : decode(bytes)));
  const header = texts.find((text) => typeof text === "string" && text !== "");
  const bare = typeof header === "string" ? header.replaceAll(/"[^"]*"/g, "") : "";
  const count = (mark: string): number => bare.split(mark).length;
  return [",", ";", "\t", "|"].reduce((best, mark) => (count(mark) > count(best) ? mark : best));
}

class RowReader {
  readonly #delimiter: string;
  readonly #isQuoted: boolean;
  #rows: (Row | BadRow)[] = [];
  /** The lines of an incomplete row, with the cells that were read from it. */
  #held: Line[] = [];
  #heldLength = 0;
  #record: OpenRecord;

  constructor(delimiter: string, isQuoted: boolean) {
    this.#delimiter = delimiter;
    this.#isQuoted = isQuoted;
    this.#record = new OpenRecord(delimiter);
  }

  read(lines: readonly Line[]): (Row | BadRow)[] {
    this.#rows = [];
    const todo = lines.toReversed();
    for (let line = todo.pop(); line !== undefined; line = todo.pop()) {
      const again = this.#take(line);
      for (const each of again.toReversed()) todo.push(each);
    }
    return this.#rows;
  }

  end(): (Row | BadRow)[] {
    const rows: (Row | BadRow)[] = [];
    while (this.#held.length > 0) {
      this.#rows = [];
      const again = this.#giveUp({ what: "a quote opens here and is never closed" });
      rows.push(...this.#rows, ...this.read(again));
    }
    return rows;
  }

  /** Reads one line; returns the lines to read again because the row that they seemed to belong to was invalid. */
  #take(line: Line): readonly Line[] {
    if (line.bytes === undefined) {
      const problem = tooLong(line);
      if (this.#held.length > 0) return [...this.#giveUp(neverCloses), line];
      this.#rows.push({ line: line.number, problem });
      return [];
    }
    const text = decode(line.bytes);
    if (typeof text !== "string") {
      if (this.#held.length > 0) return [...this.#giveUp(neverCloses), line];
      this.#rows.push({ line: line.number, problem: text });
      return [];
    }
    if (this.#held.length === 0) {
      if (text === "") return [];
      if (!this.#isQuoted || !text.includes('"')) {
        this.#rows.push({ line: line.number, cells: text.split(this.#delimiter) });
        return [];
      }
    }
    this.#held.push(line);
    this.#heldLength += line.bytes.length;
    const outcome = this.#record.add(text);
    if (outcome === "complete") {
      this.#rows.push({ line: this.#held[0]?.number ?? line.number, cells: this.#record.cells });
      this.#release();
      return [];
    }
    if (outcome !== "open") return this.#giveUp({ what: outcome, value: shown(text) });
    return this.#held.length > MOST_LINES || this.#heldLength > LONGEST_LINE ? this.#giveUp(neverCloses) : [];
  }

  /** The first held line is rejected; the lines after it may be valid. */
  #giveUp(problem: Problem): readonly Line[] {
    const [first, ...others] = this.#held;
    this.#release();
    if (first === undefined) return [];
    const text = first.bytes === undefined ? "" : decode(first.bytes);
    const value = typeof text === "string" ? { value: shown(text) } : {};
    this.#rows.push({
      line: first.number,
      problem: others.length === 0 ? { ...value, ...problem } : { ...neverCloses, ...value },
    });
    return others;
  }

  #release(): void {
    this.#held = [];
    this.#heldLength = 0;
    this.#record = new OpenRecord(this.#delimiter);
  }
}

const neverCloses: Problem = {
  what: "a quote that does not close where the cell ends",
  hint: 'write a quote inside a quoted cell twice: ""',
};

/** A row whose lines are read one after the other. */
class OpenRecord {
  readonly cells: string[] = [];
  readonly #delimiter: string;
  #cell = "";
  #quoted = false;

  constructor(delimiter: string) {
    this.#delimiter = delimiter;
  }

  /**
   * The state of the row after this line: complete, open (the next line belongs to it), or invalid, with the reason.
   */
  add(text: string): "complete" | "open" | string {
    let position = 0;
    if (this.#quoted) this.#cell += "\n";
    for (;;) {
      if (this.#quoted) {
        const end = text.indexOf('"', position);
        if (end === -1) {
          this.#cell += text.slice(position);
          return "open";
        }
        this.#cell += text.slice(position, end);
        position = end + 1;
        if (text[position] === '"') {
          this.#cell += '"';
          position += 1;
          continue;
        }
        this.#quoted = false;
        this.cells.push(this.#cell);
        this.#cell = "";
        if (position === text.length) return "complete";
        if (text[position] !== this.#delimiter) return "text after a closing quote";
        position += 1;
      } else if (text[position] === '"') {
        this.#quoted = true;
        position += 1;
      } else {
        const end = text.indexOf(this.#delimiter, position);
        const cell = text.slice(position, end === -1 ? text.length : end);
        if (cell.includes('"')) return "a quote inside a cell that is not quoted";
        this.cells.push(cell);
        if (end === -1) return "complete";
        position = end + 1;
      }
    }
  }
}
