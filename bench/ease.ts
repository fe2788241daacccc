/*
 * EASE on MovieLens-100k, all ratings as 1, λ = 458: time in the database compared with the same algebra in double
 * precision in this process, the largest difference of the weights, and the published accuracy.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/ease.ts [rounds]
 *
 * Without DATABASE_URL it runs on the embedded database. Needs ../shared/data/movielens_100k.
 *
 * Accuracy is that of Ferrari Dacrema et al., "A troubling analysis of reproducibility and progress in recommender
 * systems research" (TOIS 2021), table 98, which follows DMF (IJCAI 2017): each person's latest rating is held out and
 * ranked against 100 films that the person did not rate. Their negatives were drawn at random; here the measures are
 * the expected values over all draws. Many ratings have the same second, so "the latest" is a choice: here the last of
 * them in the file, theirs is unknown. It changes EASE and popularity by several points, together; compare the two
 * methods, not the fourth digit.
 */
import { dataset, hasDataset } from "../test/support/datasets.ts";
import { benchDatabase } from "./database.ts";

if (!hasDataset("movielens_100k/ratings")) throw new Error("Needs ../shared/data/movielens_100k.");
const rounds = Number(process.argv[2] ?? 3);
const lambda = 458;
const ratings = dataset("movielens_100k/ratings").map((row) => ({
  person: Number(row["user_id"]),
  item: Number(row["movie_id"]),
  at: String(row["rated_at"]),
}));
const items = Math.max(...ratings.map(({ item }) => item));
const people = Math.max(...ratings.map(({ person }) => person));

/** B = I - P·diag(P)⁻¹ in double precision; P by Cholesky's method, on flat arrays. */
function reference(owned: readonly (readonly number[])[]): Float64Array {
  const n = items;
  const a = new Float64Array(n * n);
  for (const own of owned) for (const i of own) for (const j of own) a[i * n + j] = (a[i * n + j] ?? 0) + 1;
  for (let i = 0; i < n; i++) a[i * n + i] = (a[i * n + i] ?? 0) + lambda;
  // L in place, in the lower triangle.
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i * n + j] as number;
      for (let k = 0; k < j; k++) sum -= (a[i * n + k] as number) * (a[j * n + k] as number);
      a[i * n + j] = i === j ? Math.sqrt(sum) : sum / (a[j * n + j] as number);
    }
  }
  // The inverse K of L, transposed: row j contains column j, from the diagonal on.
  const k = new Float64Array(n * n);
  for (let j = 0; j < n; j++) {
    k[j * n + j] = 1 / (a[j * n + j] as number);
    for (let i = j + 1; i < n; i++) {
      let sum = 0;
      for (let m = j; m < i; m++) sum -= (a[i * n + m] as number) * (k[j * n + m] as number);
      k[j * n + i] = sum / (a[i * n + i] as number);
    }
  }
  const p = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let m = i; m < n; m++) sum += (k[i * n + m] as number) * (k[j * n + m] as number);
      p[i * n + j] = sum;
      p[j * n + i] = sum;
    }
  }
  const b = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) if (i !== j) b[i * n + j] = -(p[i * n + j] as number) / (p[j * n + j] as number);
  }
  return b;
}

/** Items of each person, from 0; the last of each is the latest rating. */
const owned: number[][] = Array.from({ length: people }, () => []);
for (const { person, item } of ratings.toSorted((x, y) => (x.at < y.at ? -1 : x.at > y.at ? 1 : 0))) {
  owned[person - 1]?.push(item - 1);
}

const seconds = (milliseconds: number): string => `${(milliseconds / 1_000).toFixed(2)} s`;
async function timed<T>(work: () => Promise<T> | T): Promise<[T, number]> {
  const started = performance.now();
  const result = await work();
  return [result, performance.now() - started];
}

const { client, name, close } = await benchDatabase();
console.log(`${name}: ${people} people, ${items} films, ${ratings.length.toLocaleString("en")} ratings, λ = ${lambda}`);
await client.query("set search_path to public, pg_temp");
await client.query("create table public.rating (person int, item int, held_out boolean)");
await client.query(
  `insert into public.rating
   select person, item, held_out from unnest($1::int[], $2::int[], $3::boolean[]) as rating (person, item, held_out)`,
  [
    owned.flatMap((own, person) => own.map(() => person + 1)),
    owned.flatMap((own) => own.map((item) => item + 1)),
    owned.flatMap((own) => own.map((_, i) => i === own.length - 1)),
  ],
);
await client.query("analyze public.rating");

const times: number[] = [];
for (let round = 0; round < rounds; round++) {
  await client.query("drop table if exists public.model");
  const [, time] = await timed(() =>
    client.query(
      `create table public.model as select * from ml.ease_train('public.rating', 'person', 'item', lambda => ${lambda})`,
    ),
  );
  times.push(time);
}
times.sort((x, y) => x - y);
const median = times[Math.floor(times.length / 2)] ?? 0;
const [expected, referenceTime] = await timed(() => reference(owned));
const { rows: weights } = await client.query<{ item_no: number; weights: number[] }>(
  "select item_no, weights::real[] from public.model order by item_no",
);
let largest = 0;
for (const row of weights) {
  row.weights.forEach((weight, j) => {
    largest = Math.max(largest, Math.abs(weight - (expected[(row.item_no - 1) * items + j] ?? Number.NaN)));
  });
}
console.log(`ml.ease_train, from the table to the weights     ${seconds(median)}   (${times.map(seconds).join(", ")})`);
console.log(
  `the same in double precision in this process     ${seconds(referenceTime)}   ratio ${(median / referenceTime).toFixed(2)}`,
);
console.log(`largest difference of the weights                ${largest.toExponential(1)}`);

const [, inversion] = await timed(() =>
  client.query(
    "create table public.inverted as select ml.inverse(array_agg(inverse order by item_no)) as m from public.model",
  ),
);
console.log(`ml.inverse of a matrix of ${items} rows              ${seconds(inversion)}`);
const { rows: errors } = await client.query<{ error: number }>(`
  select max(abs(entry.value - (entry.i = entry.j)::int)) as error
  from (
    select product.i, element.j, element.value
    from (select ml.multiply((select array_agg(inverse order by item_no) from public.model), m) as m from public.inverted) as made
    cross join lateral unnest(made.m) with ordinality as product (v, i)
    cross join lateral unnest(product.v::real[]) with ordinality as element (value, j)
  ) as entry`);
console.log(`largest error of A·A⁻¹ - I                       ${(errors[0]?.error ?? 0).toExponential(1)}`);

/* Accuracy: trained without each person's latest rating. */
const [, scoring] = await timed(async () => {
  await client.query(
    `create table public.held_model as
     select item::int, item_no, weights from ml.ease_train(
       'public.rating', 'person', 'item', 'case when not held_out then 1.0 end', ${lambda}
     )`,
  );
  await client.query(
    `create table public.score as
     select rating.person, sum(held_model.weights) as scores
     from public.rating join public.held_model using (item)
     where not rating.held_out
     group by rating.person`,
  );
});
const { rows: numbers } = await client.query<{ item: number }>("select item from public.held_model order by item_no");
const { rows: scores } = await client.query<{ person: number; scores: number[] }>(
  "select person, scores::real[] as scores from public.score",
);
const counts = new Map<number, number>();
for (const own of owned) for (const item of own.slice(0, -1)) counts.set(item, (counts.get(item) ?? 0) + 1);

/** Expected HR@10 and NDCG@10 if `above` of `rivals` score higher than the target and 100 of the rivals are drawn. */
function drawn(above: number, rivals: number): { hit: number; gain: number } {
  const logFactorial = (n: number): number => {
    let sum = 0;
    for (let i = 2; i <= n; i++) sum += Math.log(i);
    return sum;
  };
  const choose = (n: number, k: number): number => logFactorial(n) - logFactorial(k) - logFactorial(n - k);
  let hit = 0;
  let gain = 0;
  for (let better = 0; better <= Math.min(9, above); better++) {
    if (100 - better > rivals - above) continue;
    const chance = Math.exp(choose(above, better) + choose(rivals - above, 100 - better) - choose(rivals, 100));
    hit += chance;
    gain += chance / Math.log2(better + 2);
  }
  return { hit, gain };
}

function accuracy(scoresOf: (person: number) => Map<number, number>): { hit: number; gain: number } {
  let hit = 0;
  let gain = 0;
  owned.forEach((own, person) => {
    const target = own.at(-1) ?? -1;
    const scored = scoresOf(person);
    const score = scored.get(target) ?? Number.NEGATIVE_INFINITY;
    const known = new Set(own);
    let above = 0;
    let rivals = 0;
    for (let item = 0; item < items; item++) {
      if (known.has(item)) continue;
      rivals++;
      if ((scored.get(item) ?? Number.NEGATIVE_INFINITY) > score) above++;
    }
    const expectation = drawn(above, rivals);
    hit += expectation.hit;
    gain += expectation.gain;
  });
  return { hit: hit / people, gain: gain / people };
}

const byPerson = new Map(scores.map((row) => [row.person - 1, row.scores]));
const model = accuracy(
  (person) => new Map(numbers.map(({ item }, j) => [item - 1, byPerson.get(person)?.[j] ?? Number.NEGATIVE_INFINITY])),
);
const popular = accuracy(() => counts);
const line = (label: string, { hit, gain }: { hit: number; gain: number }, published: string): void =>
  console.log(`${label.padEnd(12)} HR@10 ${hit.toFixed(4)}  NDCG@10 ${gain.toFixed(4)}   published ${published}`);
console.log(`\nlatest rating of each against 100 others; trained and scored in ${seconds(scoring)}`);
line("EASE", model, "0.6089 / 0.3571");
line("popularity", popular, "0.4145 / 0.2342");
await close();
