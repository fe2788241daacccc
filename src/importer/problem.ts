import { InsightsError } from "../errors.ts";

/** The reason for not storing a row, with the value. */
export interface Problem {
  what: string;
  /** The row is right, and left out on purpose: nothing that a known person did. */
  isLeftOut?: true;
  /** The text in the file, shortened; undefined if there is none to show. */
  value?: string;
  hint?: string;
}

/** An error that stops an import. */
export class ImportError extends InsightsError {
  constructor(message: string, hint?: string) {
    super(message, hint === undefined ? {} : { hint });
    this.name = "ImportError";
  }
}

const SHOWN = 80;

/** A printable form of a value: short, on one line, without control characters or unpaired surrogates. */
export function shown(value: string): string {
  const short = value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value;
  return short.toWellFormed().replaceAll(/\p{Cc}/gu, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** The most similar name by edit distance; undefined if none is close. */
export function nearest(wanted: string, names: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.max(2, Math.floor(wanted.length / 2)) + 1;
  for (const name of names) {
    const distance = edits(wanted.toLowerCase(), name.toLowerCase());
    if (distance < least) [best, least] = [name, distance];
  }
  return best;
}

/** The Levenshtein distance. */
function edits(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const change = (above[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(change, (above[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    above = current;
  }
  return above[b.length] ?? 0;
}

export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
