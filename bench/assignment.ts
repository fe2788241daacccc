/*
 * Assignments a second by the database and by GrowthBook's client in Node, of the same people, with a check that both agree.
 *
 * [DATABASE_URL=postgres://…] npm exec -- node bench/assignment.ts [people]
 *
 * One core each: one session without parallel workers, and one thread of Node. The last line of the database uses parallel
 * workers, as many as the server allows.
 */
import { randomUUID } from "node:crypto";
import { GrowthBook } from "@growthbook/growthbook";
import { benchDatabase } from "./database.ts";

const count = Number(process.argv[2] ?? 100_000);
const few = Math.ceil(count / 10);
const people = Array.from({ length: count }, () => randomUUID());
const plans = ["free", "pro", "team"];
const planOf = (i: number): string => plans[i % plans.length] ?? "";

const experiment = {
  key: "new-player",
  seed: "new-player",
  hashVersion: 2,
  variations: ["a", "b"],
  weights: [0.5, 0.5],
};
const targeted = { ...experiment, condition: { plan: { $in: ["pro", "team"] } }, coverage: 0.8 };
const features = Object.fromEntries(
  Array.from({ length: 20 }, (_, i) => [
    `feature-${i}`,
    {
      defaultValue: "a",
      rules: [
        { condition: { plan: "none" }, force: "c" },
        { ...targeted, key: `key-${i}`, seed: `seed-${i}` },
      ],
    },
  ]),
);

const bench = await benchDatabase();
const { client } = bench;
console.log(`${bench.name}, ${count} people\n`);

const perSecond = (n: number, milliseconds: number): string =>
  Math.round((1000 * n) / milliseconds).toLocaleString("en");
function line(what: string, n: number, milliseconds: number): void {
  console.log(`${what.padEnd(66)}${perSecond(n, milliseconds).padStart(12)}/s`);
}

await client.query("create temp table person (number int, id text, plan text)");
await client.query("insert into person select * from unnest($1::int[], $2::text[], $3::text[])", [
  people.map((_, i) => i),
  people,
  people.map((_, i) => planOf(i)),
]);
await client.query("create table public.person as select * from person");
await client.query("vacuum analyze public.person");
await client.query("set max_parallel_workers_per_gather = 0");
await client.query("set jit = off");

async function inDatabase(what: string, n: number, variation: string): Promise<(string | null)[]> {
  const query = `select ${variation} as variation from public.person where number < ${n} order by number`;
  await client.query(`select count(variation) from (${query} limit 1000) as warm`);
  const start = performance.now();
  await client.query(`select count(variation) from (${query}) as assigned`);
  line(`database: ${what}`, n, performance.now() - start);
  return (await client.query<{ variation: string | null }>(query)).rows.map(({ variation }) => variation);
}

function inClient(
  what: string,
  n: number,
  decide: (growthbook: GrowthBook) => string | null,
  payload: object = features,
): (string | null)[] {
  const decideFor = (i: number): string | null => {
    const growthbook = new GrowthBook({ attributes: { id: people[i], plan: planOf(i) }, features: payload } as never);
    const variation = decide(growthbook);
    growthbook.destroy();
    return variation;
  };
  for (let i = 0; i < Math.min(n, 2000); i++) decideFor(i);
  const start = performance.now();
  const found = Array.from({ length: n }, (_, i) => decideFor(i));
  line(`client: ${what}`, n, performance.now() - start);
  return found;
}

function compare(found: readonly (string | null)[], expected: readonly (string | null)[]): void {
  const equal = found.filter((variation, i) => variation === expected[i]).length;
  console.log(`  equal: ${equal} of ${expected.length}\n`);
  if (equal !== expected.length) process.exitCode = 1;
}

const quoted = (value: unknown): string => client.escapeLiteral(JSON.stringify(value));
const assigned = `experiment.choose_variation(experiment.hash('new-player', id, 2), experiment.bucket_ranges(2))::text`;
const payload = (more: unknown): string =>
  `jsonb_build_object('attributes', jsonb_build_object('id', id, 'plan', plan)) || ${quoted(more)}::jsonb`;

compare(
  await inDatabase("variation of a set of people, by hash and ranges", count, assigned),
  inClient("the same, by run", count, (growthbook) => String(growthbook.run(experiment as never).variationId)),
);
compare(
  await inDatabase(
    "run, an experiment with a condition, the whole result",
    few,
    `(experiment.run(${payload({})}, ${quoted(targeted)}) ->> 'variationId')`,
  ),
  inClient("the same, by run", few, (growthbook) => String(growthbook.run(targeted as never).variationId)),
);
compare(
  await inDatabase(
    "eval_feature, one of 20 features in the payload",
    few,
    `(experiment.eval_feature(${payload({ features })}, 'feature-7') ->> 'value')`,
  ),
  inClient("the same, by evalFeature", few, (growthbook) => String(growthbook.evalFeature("feature-7").value)),
);

// People of the database, whose names and traits the functions read; assign_all also logs that it did.
await client.query(
  `insert into track.identity (identity_id, kind, external_id, person_id) overriding system value
   select number + 1000, 'user', id, number + 1000 from public.person where number < $1`,
  [few],
);
await client.query("insert into track.person (person_id) select number + 1000 from public.person where number < $1", [
  few,
]);
await client.query("analyze track.identity, track.person");
await client.query("select experiment.define_metric('viewed', 'proportion', '{Experiment Viewed}')");
await client.query("select experiment.define_feature('player', 'A player.')");
await client.query("select experiment.define_experiment($1)", [
  JSON.stringify({
    key: "bench-player",
    feature: "player",
    goals: ["viewed"],
    coverage: 0.8,
    variations: [
      { key: "old", value: false },
      { key: "new", value: true },
    ],
  }),
]);
await client.query("select experiment.start('bench-player')");
const [published] = (await client.query<{ features: object }>("select experiment.features() -> 'features' as features"))
  .rows;
const known = published?.features ?? {};

async function assignedBy(what: string, n: number, step: number, query: string): Promise<(string | null)[]> {
  const found: (string | null)[] = [];
  await client.query(query, [people.slice(0, Math.min(n, 500))]);
  const start = performance.now();
  for (let i = 0; i < n; i += step) {
    const { rows } = await client.query<{ variation: string | null }>(query, [people.slice(i, Math.min(i + step, n))]);
    found.push(...rows.map(({ variation }) => variation));
  }
  line(`database: ${what}`, n, performance.now() - start);
  return found;
}
const expected = inClient(
  "a running experiment with its feature, by evalFeature",
  few,
  (growthbook) => String(growthbook.evalFeature("player").experimentResult?.variationId ?? 0),
  known,
);
compare(
  await assignedBy(
    "assign_all, up to 10,000 people per call",
    few,
    10_000,
    "select result ->> 'variationId' as variation from experiment.assign_all('bench-player', $1::text[])",
  ),
  expected,
);
const fewest = Math.min(few, 2000);
compare(
  await assignedBy(
    "assign, one by one",
    fewest,
    fewest,
    `select experiment.assign(person, 'bench-player') ->> 'variationId' as variation
     from unnest($1::text[]) with ordinality as entry (person, place) order by place`,
  ),
  expected.slice(0, fewest),
);

await client.query("set max_parallel_workers_per_gather = 4");
await client.query("set parallel_setup_cost = 0");
await client.query("set min_parallel_table_scan_size = 0");
const start = performance.now();
await client.query(`select sum(variation) from (select ${assigned}::int as variation from public.person) as assigned`);
line("database: variation of a set of people, with parallel workers", count, performance.now() - start);
await bench.close();
