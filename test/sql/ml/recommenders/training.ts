import type { TestDatabase } from "../../../support/database.ts";

export interface ItemNeighbours {
  item: string;
  neighbours: string[];
  weights: number[];
}

/** The weights of a call such as `ml.sequence_train('lab.use')`, from item to item by name. */
export async function trained(database: TestDatabase, call: string): Promise<Map<string, Map<string, number>>> {
  const rows = await database.rows<ItemNeighbours>(`select item, neighbours, weights from ${call}`);
  return new Map(
    rows.map((row) => [row.item, new Map(row.neighbours.map((name, i) => [name, row.weights[i] ?? Number.NaN]))]),
  );
}

/** Largest difference of the weights from those that a function gives for two names; an absent one is 0. */
export function largestError(
  model: ReadonlyMap<string, ReadonlyMap<string, number>>,
  names: readonly string[],
  expected: (from: string, to: string) => number,
): number {
  let largest = 0;
  for (const from of names) {
    for (const to of names) {
      if (from === to) continue;
      const difference = Math.abs((model.get(from)?.get(to) ?? 0) - expected(from, to));
      if (!(difference <= largest)) largest = difference;
    }
  }
  return largest;
}
