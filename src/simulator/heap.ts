import { at } from "./random.ts";

/** A binary heap: the smallest value is returned first. */
export class Heap<T> {
  readonly #values: T[] = [];
  readonly #compare: (a: T, b: T) => number;

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
  }

  get size(): number {
    return this.#values.length;
  }

  peek(): T | undefined {
    return this.#values[0];
  }

  push(value: T): void {
    const values = this.#values;
    let child = values.length;
    values.push(value);
    while (child > 0) {
      const parent = (child - 1) >> 1;
      const above = at(values, parent);
      if (this.#compare(value, above) >= 0) break;
      values[child] = above;
      child = parent;
    }
    values[child] = value;
  }

  pop(): T | undefined {
    const values = this.#values;
    const least = values[0];
    const moved = values.pop();
    if (moved === undefined || values.length === 0) return least;
    let parent = 0;
    for (;;) {
      let child = 2 * parent + 1;
      if (child >= values.length) break;
      if (child + 1 < values.length && this.#compare(at(values, child + 1), at(values, child)) < 0) child += 1;
      const below = at(values, child);
      if (this.#compare(moved, below) <= 0) break;
      values[parent] = below;
      parent = child;
    }
    values[parent] = moved;
    return least;
  }
}
