import type { TestDatabase } from "../../../support/database.ts";
import * as algebra from "../../../support/matrix.ts";

export interface Interaction {
  person: string;
  item: number;
  weight?: number;
}

export interface Ease {
  load(interactions: readonly Interaction[]): Promise<void>;
  /** Trains with more arguments after the item column. */
  train(more?: string): Promise<Row[]>;
}

export interface Row {
  item_no: number;
  item: string;
  weights: string;
  inverse: string;
}

/** Creates lab.interaction, which every call of `load` fills again. */
export async function easing(database: TestDatabase): Promise<Ease> {
  await database.query("create table lab.interaction (person text, item int, weight real)");
  return {
    async load(interactions) {
      await database.query("truncate lab.interaction");
      await database.query("insert into lab.interaction select * from unnest($1::text[], $2::int[], $3::real[])", [
        interactions.map((row) => row.person),
        interactions.map((row) => row.item),
        interactions.map((row) => row.weight ?? 1),
      ]);
    },
    train: (more = "") =>
      database.rows<Row>(
        `select item_no, item, weights::text, inverse::text from ml.ease_train('lab.interaction', 'person', 'item'${more})`,
      ),
  };
}

/** People in rows, items in columns, both in order. */
export function matrix(interactions: readonly Interaction[]): number[][] {
  const people = [...new Set(interactions.map((row) => row.person))];
  const items = [...new Set(interactions.map((row) => row.item))].sort((a, b) => a - b);
  return people.map((person) =>
    items.map((item) =>
      interactions
        .filter((row) => row.person === person && row.item === item)
        .reduce((sum, row) => sum + (row.weight ?? 1), 0),
    ),
  );
}

export function some(people: number, items: number, seed: number): Interaction[] {
  const next = algebra.generator(seed);
  const rows: Interaction[] = [];
  for (let person = 0; person < people; person++) {
    for (let item = 0; item < items; item++) {
      if (next() < 0.3) rows.push({ person: `p${person}`, item: 10 * item, weight: Math.ceil(next() * 8) / 4 });
    }
  }
  return rows.length > 0 ? rows : [{ person: "p0", item: 0 }];
}
