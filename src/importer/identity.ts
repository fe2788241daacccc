import { hash } from "node:crypto";

/**
 * Generates ids for rows without one: a hash of the content, and an ordinal for the second and every further row with
 * the same content. So the same file always gives the same ids, and two identical events remain two.
 */
export class RowIdentity {
  readonly #prefix: string;
  readonly #seen = new OccurrenceCounter();

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  idOf(cells: readonly string[]): string {
    const digest = hash("sha256", JSON.stringify(cells), "hex").slice(0, 32);
    const before = this.#seen.add(Number.parseInt(digest.slice(0, 8), 16), Number.parseInt(digest.slice(8, 16), 16));
    return `${this.#prefix}-${digest}${before === 0 ? "" : `-${before + 1}`}`;
  }
}

/**
 * Counts 64-bit keys in twelve bytes plus the empty half of an open-addressing table: a Map of strings would need a
 * gigabyte for ten million rows. If two different rows have the same key, the second gets an ordinal without need, and
 * always the same one.
 */
export class OccurrenceCounter {
  #size = 0;
  #high = new Uint32Array(1 << 12);
  #low = new Uint32Array(1 << 12);
  #count = new Uint32Array(1 << 12);

  /** Adds a key and returns how often it had been added before. */
  add(high: number, low: number): number {
    if (2 * this.#size >= this.#count.length) this.#grow();
    const slot = this.#slot(high, low);
    const before = this.#count[slot] ?? 0;
    if (before === 0) {
      this.#high[slot] = high;
      this.#low[slot] = low;
      this.#size += 1;
    }
    this.#count[slot] = before + 1;
    return before;
  }

  #slot(high: number, low: number): number {
    const mask = this.#count.length - 1;
    let slot = low & mask;
    while (this.#count[slot] !== 0 && (this.#high[slot] !== high || this.#low[slot] !== low)) slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const [high, low, count] = [this.#high, this.#low, this.#count];
    this.#high = new Uint32Array(2 * count.length);
    this.#low = new Uint32Array(2 * count.length);
    this.#count = new Uint32Array(2 * count.length);
    for (const [slot, times] of count.entries()) {
      if (times === 0) continue;
      const to = this.#slot(high[slot] ?? 0, low[slot] ?? 0);
      this.#high[to] = high[slot] ?? 0;
      this.#low[to] = low[slot] ?? 0;
      this.#count[to] = times;
    }
  }
}
