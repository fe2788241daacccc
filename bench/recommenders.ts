/*
 * The recommenders of `ml` on MovieLens: processor time of their training in the database, and the accuracy of
 * neighbour lists (the strongest weights per item as target, at most 1,000 as source) against all weights.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/recommenders.ts [movielens_100k | movielens_1m]
 *
 * Without DATABASE_URL it runs on the embedded database, where the time is that of the clock. Needs ../shared/data.
 *
 * Protocol of the accuracy: of each person a random fifth is held out (seed 1), all ratings count 1, all films that the
 * person has not rated in the training part are ranked, NDCG@10 with the ideal list cut at 10. The parameters are not
 * chosen on these data: λ = 458 and 500 as published, the others are the defaults.
 */
import { readFileSync } from "node:fs";
import { dataset, hasDataset } from "../test/support/datasets.ts";
import { generator } from "../test/support/matrix.ts";
import { benchDatabase } from "./database.ts";

const name = process.argv[2] ?? "movielens_100k";
const file = name === "movielens_1m" ? "movielens_1m/interactions" : "movielens_100k/ratings";
if (!hasDataset(file)) throw new Error(`Needs ../shared/data/${file}.csv.gz.`);
const lambda = name === "movielens_1m" ? 500 : 458;
const next = generator(1);
const ratings = dataset(file).map((row) => ({
  person: Number(row["user_id"]),
  item: Number(row["movie_id"]),
  at: row["rated_at"] ?? null,
  isHeldOut: next() < 0.2,
}));
const training = ratings.filter((row) => !row.isHeldOut);

const { client, name: database, close } = await benchDatabase();
await client.query("set search_path to public, pg_temp");
await client.query("create table public.rating (person int, item int, at timestamp)");
await client.query("insert into public.rating select * from unnest($1::int[], $2::int[], $3::timestamp[])", [
  training.map((row) => row.person),
  training.map((row) => row.item),
  training.map((row) => row.at),
]);
await client.query("analyze public.rating");
const { rows: backend } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
console.log(
  `${database}: ${name}, ${training.length.toLocaleString("en")} ratings for training, ` +
    `${new Set(ratings.map((row) => row.item)).size} films, λ = ${lambda}`,
);

/** Processor time of the database session in seconds where it runs on this machine, else that of the clock. */
function seconds(): number {
  try {
    const fields = readFileSync(`/proc/${backend[0]?.pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    if (process.env["DATABASE_URL"]) return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    // another machine
  }
  return performance.now() / 1_000;
}

type Weights = Map<number, Map<number, number>>;

/** Trains by a statement that returns item, neighbours and weights. */
async function lists(call: string): Promise<[Weights, number]> {
  const started = seconds();
  await client.query("drop table if exists public.model");
  await client.query(`create table public.model as select item::int, neighbours::int[], weights from ${call}`);
  const time = seconds() - started;
  const { rows } = await client.query<{ item: number; neighbours: number[]; weights: number[] }>(
    "select * from public.model",
  );
  return [
    new Map(rows.map((row) => [row.item, new Map(row.neighbours.map((item, i) => [item, row.weights[i] ?? 0]))])),
    time,
  ];
}

const taken = new Map<number, number[]>();
for (const { person, item } of training) taken.set(person, [...(taken.get(person) ?? []), item]);
const heldOut = new Map<number, Set<number>>();
for (const { person, item, isHeldOut } of ratings) {
  if (isHeldOut) heldOut.set(person, (heldOut.get(person) ?? new Set()).add(item));
}

const items = [...new Set(training.map((row) => row.item))].sort((a, b) => a - b);

/** NDCG@10 of each person. */
function gains(weights: Weights): number[] {
  return [...heldOut].map(([person, wanted]) => {
    const own = taken.get(person) ?? [];
    const scores = new Float64Array(4_000);
    for (const from of own) {
      for (const [to, weight] of weights.get(from) ?? []) scores[to] = (scores[to] ?? 0) + weight;
    }
    const score = (item: number): number => scores[item] ?? 0;
    const known = new Set(own);
    const best = items
      .filter((item) => !known.has(item))
      .sort((a, b) => score(b) - score(a) || a - b)
      .slice(0, 10);
    const gain = best.reduce((sum, item, i) => sum + (wanted.has(item) ? 1 / Math.log2(i + 2) : 0), 0);
    let ideal = 0;
    for (let i = 0; i < Math.min(10, wanted.size); i++) ideal += 1 / Math.log2(i + 2);
    return gain / ideal;
  });
}
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const print = (label: string, time: number | undefined, gain: readonly number[], all?: readonly number[]): void => {
  let line = `${label.padEnd(48)} ${time === undefined ? "" : `${time.toFixed(2)} s`.padStart(8)}   NDCG@10 ${mean(gain).toFixed(4)}`;
  if (all !== undefined) {
    const differences = gain.map((value, i) => value - (all[i] ?? Number.NaN));
    const centre = mean(differences);
    const error = Math.sqrt(mean(differences.map((value) => (value - centre) ** 2)) / differences.length);
    line += `   against all weights ${centre.toFixed(4)} ± ${(1.96 * error).toFixed(4)}`;
  }
  console.log(line);
};

const started = seconds();
await client.query(
  `create table public.dense as select item::int, item_no, weights from ml.ease_train('public.rating', 'person', 'item', lambda => ${lambda})`,
);
const denseTime = seconds() - started;
const { rows: dense } = await client.query<{ item: number; weights: number[] }>(
  "select item, weights::real[] as weights from public.dense order by item_no",
);
const all = gains(
  new Map(dense.map((row) => [row.item, new Map(row.weights.map((weight, i) => [items[i] ?? 0, weight]))])),
);
print("ease_train, all weights", denseTime, all);
const source = "'public.rating', 'person', 'item'";
for (const [label, call, isEase] of [
  ...[200, 500, 1000].map(
    (count) =>
      [
        `EASE as lists of ${count}`,
        `ml.edlae_train(${source}, lambda => ${lambda}, dropout => 0, neighbour_count => ${count})`,
        true,
      ] as const,
  ),
  ["edlae_train, dropout 0.3", `ml.edlae_train(${source}, lambda => ${lambda}, dropout => 0.3)`, false],
  ["item_knn_train, cosine", `ml.item_knn_train(${source}, shrinkage => 20)`, false],
  ["item_knn_train, jaccard", `ml.item_knn_train(${source}, similarity => 'jaccard')`, false],
  ["sequence_train", `ml.sequence_train(${source}, 'at')`, false],
] as const) {
  const [weights, time] = await lists(call);
  print(label, time, gains(weights), isEase ? all : undefined);
}
await close();
