import { isObject, type Json } from "../collector/dialect.ts";
import type { Item } from "./items.ts";
import type { Line } from "./lines.ts";
import type { Reader, Reading } from "./table.ts";
import { decode } from "./text.ts";

/** Structures of courses are some megabytes; they are read as a whole. */
const LONGEST_DOCUMENT = 64 * 2 ** 20;

/**
 * A reader of logs that reads the structure of a course, too: a file that is one JSON document, on one line or many.
 * `itemsOf` gives the items of a document by their keys in it; undefined for any other document, which is read as a log.
 */
export function structureReader(
  log: Reader,
  itemsOf: (document: Json) => ReadonlyMap<string, Item> | undefined,
): Reader {
  return async function* (lines) {
    const batches = lines[Symbol.asyncIterator]();
    const held: Line[][] = [];
    const texts: string[] = [];
    let length = 0;
    let isDocument: boolean | undefined;
    const next = async (): Promise<Line[] | undefined> => {
      const batch = await batches.next();
      if (batch.done === true) return undefined;
      held.push(batch.value);
      return batch.value;
    };
    while (isDocument !== false && length <= LONGEST_DOCUMENT) {
      const batch = await next();
      if (batch === undefined) break;
      for (const { bytes } of batch) {
        const text = bytes === undefined ? undefined : decode(bytes);
        if (typeof text !== "string") {
          isDocument = false;
          break;
        }
        texts.push(text);
        length += text.length;
        if (text.trim() === "") continue;
        if (isDocument === undefined) isDocument = begins(text, itemsOf);
        // A log whose first line is damaged.
        else if (text.startsWith("{") && parsed(text) !== undefined) isDocument = false;
      }
    }
    const document = isDocument === true && length <= LONGEST_DOCUMENT ? parsed(texts.join("\n")) : undefined;
    const items = document === undefined ? undefined : itemsOf(document);
    if (items === undefined) {
      yield* log(
        (async function* (): AsyncGenerator<Line[]> {
          yield* held;
          for (let batch = await batches.next(); batch.done !== true; batch = await batches.next()) yield batch.value;
        })(),
      );
      return;
    }
    const places = new Map<string, number>();
    for (const [index, text] of texts.entries()) {
      for (const [, key = ""] of text.matchAll(/"([^"\\]+)"\s*:\s*\{/g))
        if (!places.has(key)) places.set(key, index + 1);
    }
    yield [...items].map(([key, item]): Reading => ({ line: places.get(key) ?? 1, item }));
  };
}

/** Whether the first line begins a document: one over several lines, or a whole structure. */
function begins(text: string, itemsOf: (document: Json) => unknown): boolean {
  if (!/^\s*\{/.test(text)) return false;
  const value = parsed(text);
  return value === undefined ? /[{[,]\s*$/.test(text) : itemsOf(value) !== undefined;
}

function parsed(text: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
