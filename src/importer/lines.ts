import type { Problem } from "./problem.ts";

/** A line of a file; without text if it was too long. */
export interface Line {
  /** Starts at one. */
  number: number;
  /** Without the line feed (and the carriage return before it); undefined if the line is longer than the limit. */
  bytes: Uint8Array | undefined;
  length: number;
}

export const LONGEST_LINE = 1 << 20;

/** The reason for rejecting a line whose bytes were not kept. */
export function tooLong(line: Line): Problem {
  const [length, most] = [line.length, LONGEST_LINE].map((count) => count.toLocaleString("en"));
  return {
    what: `a line of ${length} bytes, more than ${most}`,
    hint: "each row or JSON object is a line of its own: jq -c . FILE writes objects so",
  };
}

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/**
 * Splits a stream into lines, which end with a line feed, or, in a file without any, with a carriage return. A line that
 * is too long is skipped while it is read: memory is bounded by the limit, not
 * by the file.
 */
export async function* linesOf(stream: AsyncIterable<Uint8Array>, longest = LONGEST_LINE): AsyncGenerator<Line[]> {
  let number = 0;
  let parts: Uint8Array[] = [];
  let length = 0;
  const finish = (): Line => {
    number += 1;
    const joined = length > longest ? undefined : parts.length === 1 ? parts[0] : Buffer.concat(parts, length);
    const bytes = joined?.at(-1) === CARRIAGE_RETURN ? joined.subarray(0, -1) : joined;
    const line = { number, bytes: number === 1 ? withoutMark(bytes) : bytes, length };
    parts = [];
    length = 0;
    return line;
  };
  const take = (part: Uint8Array): void => {
    length += part.length;
    if (length > longest) parts = [];
    else if (part.length > 0) parts.push(part);
  };
  let mark: number | undefined;
  for await (const chunk of beginning(stream)) {
    const lines: Line[] = [];
    let start = 0;
    mark ??= chunk.includes(LINE_FEED) || !chunk.includes(CARRIAGE_RETURN) ? LINE_FEED : CARRIAGE_RETURN;
    for (let end = chunk.indexOf(mark); end !== -1; end = chunk.indexOf(mark, start)) {
      take(chunk.subarray(start, end));
      lines.push(finish());
      start = end + 1;
    }
    take(chunk.subarray(start));
    if (lines.length > 0) yield lines;
  }
  if (length > 0) yield [finish()];
}

/** The stream, whose first chunk has a line feed, is 64 kB, or is all. */
async function* beginning(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let head: Uint8Array | undefined = new Uint8Array();
  for await (const chunk of stream) {
    if (head === undefined) {
      yield chunk;
      continue;
    }
    head = Buffer.concat([head, chunk]);
    if (!chunk.includes(LINE_FEED) && head.length < 65_536) continue;
    yield head;
    head = undefined;
  }
  if (head !== undefined && head.length > 0) yield head;
}

/** Spreadsheets start UTF-8 with a byte order mark, which does not belong to the name of the first column. */
function withoutMark(bytes: Uint8Array | undefined): Uint8Array | undefined {
  return bytes?.[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
}
