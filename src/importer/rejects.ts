import { createWriteStream, openSync, type WriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import { ImportError, type Problem, reason } from "./problem.ts";

/** Keeps the first rejected rows for the report, counts the others, and writes all of them to a file if requested. */
export class Rejects {
  readonly #shown: { file: number; line: number; problem: Problem }[] = [];
  readonly #files: string[] = [];
  readonly #most: number;
  readonly #file: WriteStream | undefined;
  readonly #path: string | undefined;
  #failure: Error | undefined;
  #count = 0;

  constructor(most: number, path: string | undefined) {
    this.#most = most;
    this.#path = path;
    if (path === undefined) return;
    // Before the first row is stored. The rows are data of people.
    let file: number;
    try {
      file = openSync(path, "w", 0o600);
    } catch (error) {
      throw new ImportError(`cannot write ${path}: ${reason(error)}`, "name a file that you may write to");
    }
    this.#file = createWriteStream(path, { fd: file });
    this.#file.on("error", (error) => {
      this.#failure = error;
    });
  }

  /** The following rows are of this file; undefined: of the only one. */
  begin(file: string | undefined): void {
    this.#files.push(file ?? "");
  }

  add(line: number, problem: Problem): void {
    this.#count += 1;
    const file = this.#files.length - 1;
    if (this.#shown.length < this.#most) this.#shown.push({ file, line, problem });
    const name = this.#files[file];
    if (this.#failure !== undefined) return;
    this.#file?.write(`${JSON.stringify({ ...(name ? { file: name } : {}), line, ...problem })}\n`);
  }

  async close(): Promise<void> {
    if (this.#file !== undefined && this.#failure === undefined) {
      this.#file.end();
      await finished(this.#file).catch((error: Error) => {
        this.#failure = error;
      });
    }
    if (this.#failure !== undefined) {
      throw new ImportError(
        `cannot write ${this.#path}: ${reason(this.#failure)}`,
        "name a file that you may write to",
      );
    }
  }

  /** One line per row, in the order of the files. */
  report(): string[] {
    const lines = this.#shown
      .toSorted((one, other) => one.file - other.file || one.line - other.line)
      .map(({ file, line, problem: { what, value, hint } }) => {
        const place = this.#files[file] ? `${this.#files[file]}, ` : "";
        return `${place}line ${line}: ${what}${value === undefined ? "" : `: ${value}`}${hint === undefined ? "" : ` (${hint})`}`;
      });
    const others = this.#count - this.#shown.length;
    if (others > 0) {
      const where = this.#path === undefined ? "; --rejects FILE writes all of them" : `, all in ${this.#path}`;
      lines.push(`and ${others.toLocaleString("en")} more${where}`);
    }
    return lines;
  }
}
