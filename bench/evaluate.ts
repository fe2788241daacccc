/*
 * recommend.evaluate_relations on real data: the measures of each model, the model that `default` is, and the difference
 * of NDCG@10 to other models with its 95 % interval over the people (paired, normal approximation).
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/evaluate.ts [canvas] [movielens_100k] [movielens_1m] [mooccube]
 *
 * Without DATABASE_URL it runs on the embedded database, without names on all four. Needs the folders of
 * ../shared/data. The protocol is printed beside the figures: all items of the training rows that a person does not have
 * there are ranked; parameters are chosen on the training rows alone. The test rows of the published tables are not
 * among these data: the splits are made here, as the protocols say.
 */
import { dataset } from "../test/support/datasets.ts";
import { benchDatabase } from "./database.ts";

interface Trial {
  name: string;
  protocol: string;
  /** Rows of the table `source`: person, item, time or place. */
  rows: () => [person: string | null, item: string | null, place: string | null][];
  placeType: string;
  /** Whether a row of `ranked` (with `place_no` from 1 to `size` for each person) is a test row. */
  isTest: string;
  /** The order within each person by which `place_no` is given. */
  order: string;
  isOrdered: boolean;
  models: string[];
  /** Models that the default model is compared with. */
  others: string[];
}

const shuffled = "hashtextextended(item, hashtextextended(person, 0))";
const trials: Trial[] = [
  {
    name: "canvas",
    protocol: "Canvas Network, of the given rows of each learner the last fifth hidden (at least one)",
    rows: () =>
      dataset("canvas_network_cnpc/enrolments").map((row) => [
        row["user_id"] ?? null,
        row["course_id"] ?? null,
        row["position"] ?? null,
      ]),
    placeType: "int",
    isTest: "place_no > size - greatest(1, round(size / 5.0))",
    order: "place",
    isOrdered: true,
    models: ["popularity", "trending", "ease(500)", "sequence(saturation => 0, in_exponent => 0.5)", "default"],
    others: ["ease(500)", "sequence(saturation => 0, in_exponent => 0.5)"],
  },
  {
    name: "movielens_100k",
    protocol: "MovieLens-100k, all ratings as 1, a random fifth of each person hidden",
    rows: () =>
      dataset("movielens_100k/ratings").map((row) => [
        row["user_id"] ?? null,
        row["movie_id"] ?? null,
        row["rated_at"] ?? null,
      ]),
    placeType: "timestamptz",
    isTest: "place_no <= size / 5",
    order: shuffled,
    isOrdered: false,
    models: ["popularity", "item_knn", "ease(458)", "edlae", "default"],
    others: ["ease(458)"],
  },
  {
    name: "movielens_1m",
    protocol: "MovieLens-1M, all ratings as 1, a random fifth of each person hidden",
    rows: () =>
      dataset("movielens_1m/interactions").map((row) => [
        row["user_id"] ?? null,
        row["movie_id"] ?? null,
        row["rated_at"] ?? null,
      ]),
    placeType: "timestamptz",
    isTest: "place_no <= size / 5",
    order: shuffled,
    isOrdered: false,
    models: ["popularity", "ease(500)", "default"],
    others: ["ease(500)"],
  },
  {
    name: "mooccube",
    protocol: "MOOCCube, videos by their first view, the last one of each learner with three or more hidden",
    rows: () =>
      dataset("mooccube_watch/video_events").map((row) => [
        row["user_id"] ?? null,
        row["video_id"] ?? null,
        row["watched_at"] ?? null,
      ]),
    placeType: "timestamptz",
    isTest: "size >= 3 and place_no = size",
    order: "place, item",
    isOrdered: true,
    models: ["popularity", "trending", "ease(500)", "sequence", "default"],
    others: ["ease(500)", "popularity"],
  },
];

const names = process.argv.slice(2);
const unknown = names.filter((name) => !trials.some((trial) => trial.name === name));
if (unknown.length > 0) throw new Error(`Unknown: ${unknown.join(", ")}. Known: ${trials.map(({ name }) => name)}.`);

const { client, name: server, close } = await benchDatabase();
console.log(server);
await client.query("set search_path to public, pg_temp");
const messages: string[] = [];
client.on("notice", ({ message }) => messages.push(message ?? ""));

/** NDCG@10 by person, from the ranks of the hits. */
async function ndcgByPerson(trial: Trial, model: string): Promise<Map<number, number>> {
  await client.query("begin");
  await client.query("select recommend._code_relations('train', 'test', 'person', 'item', $1)", [
    trial.isOrdered ? "place" : null,
  ]);
  const { rows: counted } = await client.query<{ n: number }>("select count(*)::int as n from pg_temp._recommend_item");
  const n = counted[0]?.n ?? 0;
  await client.query(
    "select recommend._fit_parts('pg_temp._recommend_training', array[recommend._read_model($1)], $2)",
    [model, n],
  );
  await client.query(
    `select recommend._rank_targets('pg_temp._recommend_training', 'pg_temp._recommend_target',
       array[recommend._read_model($1)], $2, 10)`,
    [model, n],
  );
  const { rows } = await client.query<{ person: number; relevant: number; ranks: number[] }>(
    "select person_no as person, relevant_count as relevant, ranks from pg_temp._recommend_gain",
  );
  await client.query("rollback");
  const discount = (rank: number): number => 1 / Math.log2(1 + rank);
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  return new Map(
    rows.map(({ person, relevant, ranks }) => {
      const ideal = sum(Array.from({ length: Math.min(10, relevant) }, (_, i) => discount(i + 1)));
      return [person, sum(ranks.map(discount)) / ideal];
    }),
  );
}

for (const trial of trials.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const rows = trial.rows();
  await client.query("drop table if exists source, train, test");
  await client.query(`create table source (person text, item text, place ${trial.placeType})`);
  for (let from = 0; from < rows.length; from += 100_000) {
    const part = rows.slice(from, from + 100_000);
    await client.query(
      `insert into source select person, item, place::${trial.placeType}
       from unnest($1::text[], $2::text[], $3::text[]) as given (person, item, place)`,
      [part.map(([person]) => person), part.map(([, item]) => item), part.map(([, , place]) => place)],
    );
  }
  await client.query(
    `create table ranked as
     select person, item, place, ${trial.isTest} as is_test
     from (
       select *, row_number() over (partition by person order by ${trial.order}) as place_no,
         count(*) over (partition by person) as size
       from (select person, item, min(place) as place from source group by person, item) as first_use
     ) as placed`,
  );
  await client.query("create table train as select person, item, place from ranked where not is_test");
  await client.query("create table test as select person, item, place from ranked where is_test");
  await client.query("drop table ranked");
  await client.query("analyze");
  const { rows: sizes } = await client.query<{ people: number; items: number; train: number; test: number }>(
    `select count(distinct person)::int as people, count(distinct item)::int as items, count(*)::int as train,
       (select count(*)::int from test) as test
     from train`,
  );
  const size = sizes[0];
  console.log(`\n${trial.protocol}`);
  console.log(`${size?.people} people, ${size?.items} items, ${size?.train} training and ${size?.test} test rows`);
  console.log(
    "model                                          P@10    R@10   NDCG@10 uncut   MAP     MRR    hits   cover   time",
  );
  for (const model of trial.models) {
    const started = performance.now();
    const { rows: measured } = await client.query<{ metric: string; value: number }>(
      "select metric, value from recommend.evaluate_relations('train', 'test', 'person', 'item', $1, $2)",
      [trial.isOrdered ? "place" : null, [model]],
    );
    const seconds = (performance.now() - started) / 1_000;
    const value = (metric: string): string =>
      (measured.find((row) => row.metric === metric)?.value ?? Number.NaN).toFixed(4);
    console.log(
      `${model.padEnd(44)} ${["precision", "recall", "ndcg", "ndcg_uncut", "map", "mrr", "hit_rate", "coverage"]
        .map(value)
        .join("  ")}  ${seconds.toFixed(1)} s`,
    );
  }
  const chosen = messages.at(-1)?.replace("default is ", "") ?? "";
  console.log(`default is ${chosen}`);
  const own = await ndcgByPerson(trial, chosen);
  for (const other of trial.others) {
    const theirs = await ndcgByPerson(trial, other);
    const differences = [...own].map(([person, value]) => value - (theirs.get(person) ?? 0));
    const mean = differences.reduce((sum, value) => sum + value, 0) / differences.length;
    const variance = differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (differences.length - 1);
    const margin = 1.96 * Math.sqrt(variance / differences.length);
    console.log(`  NDCG@10 above ${other}: ${mean.toFixed(4)} ± ${margin.toFixed(4)} (${differences.length} people)`);
  }
}
await close();
