import type { TestDatabase } from "../../../support/database.ts";
import { generator } from "../../../support/matrix.ts";

export interface Use {
  person: number;
  item: number;
  weight: number;
  position: number | null;
}

export interface Neighbours {
  item_no: number;
  neighbours: number[];
  weights: number[];
}

export interface Coded {
  load(uses: readonly Use[]): Promise<void>;
  /** The rows of a call such as `ml.sequence_neighbours('lab.coded')`. */
  rows(call: string): Promise<Neighbours[]>;
  /** The same as a matrix of `items` rows and columns. */
  weights(call: string, items: number): Promise<number[][]>;
  /** Code, message and hint of a call that is refused. */
  refused(call: string): Promise<{ code: string | undefined; message: string; hint: string | undefined }>;
}

/** Creates lab.coded, which every call of `load` fills again. */
export async function coding(database: TestDatabase): Promise<Coded> {
  await database.query("create table lab.coded (person_no int, item_no int, weight real, position int)");
  await database.query("grant usage on schema lab to insights_analyst");
  await database.query("grant select on lab.coded to insights_analyst");
  const rows = (call: string): Promise<Neighbours[]> =>
    database.rows<Neighbours>(`select item_no, neighbours, weights from ${call}`);
  return {
    async load(uses) {
      await database.query("truncate lab.coded");
      await database.query("insert into lab.coded select * from unnest($1::int[], $2::int[], $3::real[], $4::int[])", [
        uses.map((use) => use.person),
        uses.map((use) => use.item),
        uses.map((use) => use.weight),
        uses.map((use) => use.position),
      ]);
    },
    rows,
    weights: async (call, items) => dense(await rows(call), items),
    async refused(call) {
      const error = await database.rejects(`select * from ${call}`);
      return { code: error.code, message: error.message, hint: error.hint };
    },
  };
}

export const zeros = (n: number): number[][] => Array.from({ length: n }, () => Array.from({ length: n }, () => 0));

export function dense(lists: readonly Neighbours[], items: number): number[][] {
  const matrix = zeros(items);
  for (const list of lists) {
    list.neighbours.forEach((neighbour, i) => {
      const row = matrix[list.item_no - 1];
      if (row !== undefined) row[neighbour - 1] = list.weights[i] ?? Number.NaN;
    });
  }
  return matrix;
}

/** Each person uses some of the items, each once, in an order with ties and gaps; some positions are unknown. */
export function uses(people: number, items: number, seed: number): Use[] {
  const next = generator(seed);
  const made: Use[] = [];
  for (let person = 1; person <= people; person++) {
    let position = 1;
    const order = Array.from({ length: items }, (_, i) => ({ item: i + 1, key: next() })).sort((a, b) => a.key - b.key);
    for (const { item } of order.slice(0, Math.floor(next() * (items + 1)))) {
      position += Math.floor(next() * 3);
      made.push({ person, item, weight: Math.floor(next() * 9) / 4, position: next() < 0.1 ? null : position });
    }
  }
  return made;
}

/** People in rows, items in columns. */
export function matrixOf(made: readonly Use[], people: number, items: number): number[][] {
  const matrix = Array.from({ length: people }, () => Array.from({ length: items }, () => 0));
  for (const { person, item, weight } of made) {
    const row = matrix[person - 1];
    if (row !== undefined) row[item - 1] = (row[item - 1] ?? 0) + weight;
  }
  return matrix;
}

/** The same rows in another order. */
export function shuffled<T>(rows: readonly T[], seed: number): T[] {
  const next = generator(seed);
  return rows
    .map((row) => ({ row, key: next() }))
    .sort((a, b) => a.key - b.key)
    .map(({ row }) => row);
}
