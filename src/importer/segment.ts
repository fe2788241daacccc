import { RowIdentity } from "./identity.ts";
import { type Line, tooLong } from "./lines.ts";
import type { Message } from "./message.ts";
import { type Problem, reason, shown } from "./problem.ts";
import { type Outcome, type Reader, type Reading, readingOf } from "./table.ts";
import { decode } from "./text.ts";

/** How track.ingest reads the times of messages. */
export const ISO_TIMES = "times are year, month, day as in ISO 8601; without an offset, they are read in UTC";

const DEEPEST = 64;
/**
 * Text that may contain a null byte, an unpaired surrogate, a number beyond double precision, or deep nesting. Most
 * lines have none of these.
 */
const ESCAPED = /\\u(?:0000|d[89a-f])/i;
const LONG_NUMBER = /\d{16}|[eE][+-]?\d/;
const BRACKETS = /[[{]/g;

/**
 * Segment messages, one JSON object per line; a line may also contain a whole request, `{"batch": […]}`, or a list.
 *
 * `track.ingest` validates messages; only errors that would prevent a line from being sent are checked here.
 */
export function segmentReader(): Reader {
  const reader: Reader = (lines) => {
    const identity = new RowIdentity("segment");
    return readObjects(lines, (message) => [complete(message, identity)]);
  };
  reader.notes = () => [ISO_TIMES];
  return reader;
}

/** Reads JSON lines; `convert` makes messages of each object, or gives the reasons why there are none. */
export async function* readObjects(
  lines: AsyncIterable<Line[]>,
  convert: (value: Json) => Outcome[],
): AsyncGenerator<Reading[], void, undefined> {
  for await (const batch of lines) {
    const readings: Reading[] = [];
    for (const line of batch) {
      const outcome = messagesOf(line);
      if (!Array.isArray(outcome)) {
        readings.push({ line: line.number, problem: outcome });
        continue;
      }
      for (const each of outcome.flatMap(convert)) readings.push(readingOf(line.number, each));
    }
    yield readings;
  }
}

type Json = Record<string, unknown>;

function messagesOf(line: Line): Json[] | Problem {
  if (line.bytes === undefined) return tooLong(line);
  const text = decode(line.bytes);
  if (typeof text !== "string") return text;
  if (text.trim() === "") return [];
  let value: unknown;
  try {
    value = LONG_NUMBER.test(text) ? parseExactly(text) : JSON.parse(text);
  } catch (error) {
    return {
      what: `not JSON: ${mistake(error)}`,
      value: shown(text),
      hint: "write one JSON object a line: jq -c . FILE",
    };
  }
  if (ESCAPED.test(text) || (text.match(BRACKETS)?.length ?? 0) > DEEPEST) {
    const problem = unstorable(value, 0);
    if (problem !== undefined) return { ...problem, value: shown(text) };
  }
  const messages =
    isObject(value) && Array.isArray(value["batch"]) ? value["batch"] : Array.isArray(value) ? value : [value];
  const wrong = messages.find((message) => !isObject(message));
  if (wrong !== undefined) {
    return {
      what: "not a message",
      value: shown(JSON.stringify(wrong)),
      hint: 'a message looks like {"type": "track", …}',
    };
  }
  return messages as Json[];
}

/**
 * A historical message. Only a server knew when it was received: without that, the time at which it was sent does not
 * prove anything about the client's clock, and would move the event to the present.
 */
function complete(message: Json, identity: RowIdentity): Message {
  const { sentAt, originalTimestamp, ...kept } = message;
  const timed =
    message["receivedAt"] !== undefined
      ? message
      : {
          ...kept,
          ...(message["timestamp"] === undefined && originalTimestamp !== undefined
            ? { timestamp: originalTimestamp }
            : {}),
        };
  const named =
    message["messageId"] === undefined ? { ...timed, messageId: identity.idOf([JSON.stringify(message)]) } : timed;
  return named as unknown as Message;
}

/** Keeps numbers that double precision would change, such as ids of twenty digits, as they are written. */
function parseExactly(text: string): unknown {
  return JSON.parse(text, (_key, value: unknown, context?: { source?: string }) => {
    const source = context?.source;
    return typeof value === "number" && source !== undefined && String(value) !== source ? rawNumber(source) : value;
  });
}

function rawNumber(source: string): unknown {
  return (JSON as unknown as { rawJSON: (text: string) => unknown }).rawJSON(source);
}

function unstorable(value: unknown, depth: number): Problem | undefined {
  if (depth > DEEPEST) return { what: `nested more than ${DEEPEST} levels` };
  if (typeof value === "string") {
    if (value.includes("\0")) return { what: "a null byte, which PostgreSQL cannot store" };
    return value.isWellFormed() ? undefined : { what: "an unpaired surrogate, which is not a valid character" };
  }
  if (typeof value !== "object" || value === null) return undefined;
  for (const [name, each] of Object.entries(value)) {
    const problem = unstorable(name, depth) ?? unstorable(each, depth + 1);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** The reason without the line in the text, which is that of the object, and without the text, which is shown beside. */
const mistake = (error: unknown): string =>
  shown(
    reason(error)
      .replace(/, ".*" is not valid JSON$/s, "")
      .replace(/(?: in JSON)?(?: after JSON)? at position \d+ \(line \d+ column (\d+)\)/, " at column $1"),
  );

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
