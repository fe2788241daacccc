import { describe, expect, test } from "vitest";
import { lab } from "../../support/lab.ts";

const database = await lab();

type Metric = { model: string; metric: string; k: number; value: number };
/** A pair of a person and an item with its place in the order of the person. */
type Pair = [person: string, item: string, place: number];

/** Numbers from 0 to 1 that depend on the seed alone. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

async function store(table: string, pairs: readonly Pair[]): Promise<void> {
  await database.query(`drop table if exists lab.${table}`);
  await database.query(`create table lab.${table} (person text, item text, place int)`);
  await database.query(`insert into lab.${table} select * from unnest($1::text[], $2::text[], $3::int[])`, [
    pairs.map(([person]) => person),
    pairs.map(([, item]) => item),
    pairs.map(([, , place]) => place),
  ]);
}

async function evaluate(
  models: readonly string[] | null,
  k: readonly number[],
  order: string | null = "place",
): Promise<Metric[]> {
  return database.rows<Metric>(
    "select * from recommend.evaluate_relations('lab.train', 'lab.test', 'person', 'item', $1, $2, $3)",
    [order, models, k],
  );
}

type Weights = (i: number, j: number) => number;

interface Oracle {
  items: string[];
  /** Items of each person of the training rows, from the first to the last. */
  histories: Map<string, number[]>;
  counts: number[];
}

function read(train: readonly Pair[]): Oracle {
  const last = new Map<string, Map<string, number>>();
  for (const [person, item, place] of train) {
    const own = last.get(person) ?? new Map<string, number>();
    own.set(item, Math.max(place, own.get(item) ?? place));
    last.set(person, own);
  }
  const people = new Map<string, number>();
  for (const own of last.values()) for (const item of own.keys()) people.set(item, (people.get(item) ?? 0) + 1);
  const items = [...people.keys()].sort((a, b) => (people.get(b) ?? 0) - (people.get(a) ?? 0) || (a < b ? -1 : 1));
  const histories = new Map(
    [...last].map(([person, own]) => [
      person,
      [...own].sort(([, a], [, b]) => a - b).map(([item]) => items.indexOf(item)),
    ]),
  );
  return { items, histories, counts: items.map((item) => people.get(item) ?? 0) };
}

const has = (history: readonly number[], item: number): number => (history.includes(item) ? 1 : 0);

function cosine({ histories, counts }: Oracle, shrinkage: number): Weights {
  return (i, j) => {
    let both = 0;
    for (const history of histories.values()) both += has(history, i) * has(history, j);
    return i === j ? 0 : both / (Math.sqrt((counts[i] ?? 0) * (counts[j] ?? 0)) + shrinkage);
  };
}

function sequence({ histories, items }: Oracle, decay: number, exponent: number, saturation: number): Weights {
  const c = items.map(() => items.map(() => 0));
  for (const history of histories.values()) {
    history.forEach((i, from) => {
      history.slice(from + 1).forEach((j, distance) => {
        const row = c[i] ?? [];
        row[j] = (row[j] ?? 0) + decay ** distance;
      });
    });
  }
  const out = c.map((row) => row.reduce((sum, value) => sum + value, 0));
  const into = c.map((_, j) => c.reduce((sum, row) => sum + (row[j] ?? 0), 0));
  return (i, j) => {
    const value = c[i]?.[j] ?? 0;
    return value === 0 ? 0 : Math.log(1 + (saturation * value) / (out[i] ?? 0)) / (into[j] ?? 0) ** exponent;
  };
}

function ease({ histories, items }: Oracle, lambda: number): Weights {
  // Gauss-Jordan on the Gram matrix plus the ridge.
  const n = items.length;
  const a = items.map((_, i) =>
    items.map((_, j) => {
      let both = 0;
      for (const history of histories.values()) both += has(history, i) * has(history, j);
      return both + (i === j ? lambda : 0);
    }),
  );
  const p = items.map((_, i) => items.map((_, j) => (i === j ? 1 : 0)));
  for (let i = 0; i < n; i++) {
    const pivot = a[i]?.[i] ?? 1;
    for (const m of [a, p]) m[i] = (m[i] ?? []).map((value) => value / pivot);
    for (let other = 0; other < n; other++) {
      const factor = a[other]?.[i] ?? 0;
      if (other === i || factor === 0) continue;
      for (const m of [a, p]) m[other] = (m[other] ?? []).map((value, j) => value - factor * (m[i]?.[j] ?? 0));
    }
  }
  return (i, j) => (i === j ? 0 : -(p[i]?.[j] ?? 0) / (p[j]?.[j] ?? 1));
}

/** The metrics by their definitions, from full lists; items are numbered in the order of ties. */
function metrics(
  oracle: Oracle,
  test: readonly Pair[],
  score: (history: number[], item: number) => number,
  k: number,
): Record<string, number> {
  const relevant = new Map<string, Set<string>>();
  for (const [person, item] of test) {
    const known = (oracle.histories.get(person) ?? []).map((index) => oracle.items[index]);
    if (known.includes(item)) continue;
    relevant.set(person, (relevant.get(person) ?? new Set()).add(item));
  }
  const sums: Record<string, number> = {};
  const seen = new Set<number>();
  for (const [person, wanted] of relevant) {
    const history = oracle.histories.get(person) ?? [];
    const list = oracle.items
      .map((_, item) => ({ item, score: score(history, item) }))
      .filter(({ item }) => !history.includes(item))
      .sort((a, b) => (Math.abs(a.score - b.score) > 1e-6 ? b.score - a.score : a.item - b.item))
      .slice(0, k);
    for (const { item } of list) seen.add(item);
    const hits = list.map(({ item }) => wanted.has(oracle.items[item] ?? ""));
    const count = hits.filter(Boolean).length;
    const discount = (rank: number): number => 1 / Math.log2(1 + rank);
    const ideal = (n: number): number =>
      Array.from({ length: n }, (_, i) => discount(i + 1)).reduce((a, b) => a + b, 0);
    const gain = hits.reduce((sum, hit, i) => sum + (hit ? discount(i + 1) : 0), 0);
    const reachable = Math.min(k, wanted.size);
    const values: Record<string, number> = {
      precision: count / k,
      recall: count / wanted.size,
      recall_min: count / reachable,
      ndcg: gain / ideal(reachable),
      ndcg_uncut: gain / ideal(wanted.size),
      map:
        hits.reduce((sum, hit, i) => sum + (hit ? hits.slice(0, i + 1).filter(Boolean).length / (i + 1) : 0), 0) /
        reachable,
      mrr: count > 0 ? 1 / (hits.indexOf(true) + 1) : 0,
      hit_rate: count > 0 ? 1 : 0,
    };
    for (const [name, value] of Object.entries(values)) sums[name] = (sums[name] ?? 0) + value / relevant.size;
  }
  return { ...sums, coverage: seen.size / oracle.items.length };
}

/** Tastes of three groups of items, in an order that leads from one item to the next; some repeated and some unknown. */
function data(seed: number): { train: Pair[]; test: Pair[] } {
  const next = random(seed);
  const train: Pair[] = [];
  const test: Pair[] = [];
  for (let person = 0; person < 40; person++) {
    const start = Math.floor(next() * 18);
    const length = 2 + Math.floor(next() * 7);
    for (let place = 0; place < length; place++) {
      const item = next() < 0.7 ? (start + place) % 18 : Math.floor(next() * 18);
      const pair: Pair = [`person ${person}`, `item ${item}`, place];
      if (place < length - 2 || person % 9 === 0) train.push(pair);
      else test.push(pair);
      if (next() < 0.1) train.push([pair[0], pair[1], place]);
    }
  }
  test.push(
    ["newcomer", "item 3", 0],
    ["person 1", "never seen", 9],
    ["person 2", "item 4", 9],
    ["newcomer", "item 3", 1],
  );
  return { train, test };
}

describe("recommend.evaluate_relations", () => {
  test("gives the metrics of the definitions for lists of independent models", async () => {
    for (const seed of [1, 2, 3, 4]) {
      const { train, test } = data(seed);
      await store("train", train);
      await store("test", test);
      const oracle = read(train);
      const linear =
        (weights: Weights, decay: number) =>
        (history: number[], item: number): number =>
          history.reduce((sum, used, i) => sum + decay ** (history.length - 1 - i) * weights(used, item), 0);
      const weightsOf = {
        "item_knn(shrinkage => 3.7)": linear(cosine(oracle, 3.7), 1),
        "sequence(decay => 0.83, in_exponent => 0.37, saturation => 9, history_decay => 0.71)": linear(
          sequence(oracle, 0.83, 0.37, 9),
          0.71,
        ),
        "ease(11.3)": linear(ease(oracle, 11.3), 1),
        popularity: (): number => 0,
        trending: (_: number[], item: number): number => {
          let sum = 0;
          for (const history of oracle.histories.values()) {
            const at = history.indexOf(item);
            if (at >= 0) sum += 0.5 ** (history.length - 1 - at);
          }
          return sum;
        },
      };
      const ks = [1, 3, 10, 1000];
      const rows = await evaluate(Object.keys(weightsOf), [10, 1, 1000, 3, 3]);
      expect(rows).toHaveLength(Object.keys(weightsOf).length * ks.length * 9);
      for (const [model, score] of Object.entries(weightsOf)) {
        for (const k of ks) {
          const found = rows.filter((row) => row.model === model && row.k === k);
          const expected = metrics(oracle, test, score, k);
          expect(found.map(({ metric }) => metric)).toEqual(Object.keys(expected));
          for (const { metric, value } of found) {
            expect(value, `${model}, ${metric} at ${k}, seed ${seed}`).toBeCloseTo(expected[metric] ?? Number.NaN, 9);
          }
        }
      }
    }
  });
});
