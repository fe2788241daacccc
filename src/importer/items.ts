import { hash } from "node:crypto";
import { OccurrenceCounter } from "./identity.ts";

/** An item as a file states it without an event, and as `track.import_items` accepts it. */
export interface Item {
  item: string;
  kind?: string | undefined;
  title?: string | undefined;
  url?: string | undefined;
  /** Another item, which contains it. */
  parent?: string | undefined;
}

const ATTRIBUTES = ["kind", "title", "url", "parent"] as const;

/**
 * The first statement of each attribute of an item in a file: rows repeat what contains them, and the same file must state
 * the same again. Twelve bytes per attribute and the empty half of a table, as for rows.
 */
export class FirstStatements {
  readonly #seen = new OccurrenceCounter();
  /** Rows of one course follow each other. */
  #last = "";

  /** The attributes that were not stated before; undefined when there is none. */
  of(item: Item): Item | undefined {
    const text = JSON.stringify(item);
    if (text === this.#last) return undefined;
    this.#last = text;
    const isNew = this.#isFirst(item.item, "item");
    const first = ATTRIBUTES.filter((name) => item[name] !== undefined && this.#isFirst(item.item, name));
    if (!isNew && first.length === 0) return undefined;
    return { item: item.item, ...Object.fromEntries(first.map((name) => [name, item[name]])) };
  }

  #isFirst(item: string, attribute: string): boolean {
    const digest = hash("sha256", `${attribute} ${item}`, "hex");
    return this.#seen.add(Number.parseInt(digest.slice(0, 8), 16), Number.parseInt(digest.slice(8, 16), 16)) === 0;
  }
}
