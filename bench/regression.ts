/*
 * Linear and logistic regression of 10 columns: time in the database as a multiple of `select count(*), avg(y)` over
 * the same table in the same run, and compared with the same sums by DuckDB on the same rows with the same number of
 * iterations.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/regression.ts [rows] [rounds]
 *
 * Without DATABASE_URL it runs on the embedded database (by default with fewer rows).
 */
import { cpus } from "node:os";
import { DuckDBInstance } from "@duckdb/node-api";
import { inverse } from "../test/support/matrix.ts";
import { benchDatabase } from "./database.ts";

const database = await benchDatabase();
const { client } = database;
const rows = Number(process.argv[2] ?? (database.embedded ? 200_000 : 2_000_000));
const rounds = Number(process.argv[3] ?? 3);
const threads = Math.min(cpus().length, 2);

// The same rows in both: whole numbers modulo a prime are random enough, and the same on every system.
const modulus = 1_000_003;
const factors = [
  7919, 104_729, 15_485_863, 32_452_843, 49_979_687, 67_867_967, 86_028_121, 104_395_301, 122_949_823, 141_650_939,
];
const uniform = (factor: number): string => `(((i * ${factor}) % ${modulus}) / ${modulus}.0)`;
const columns = factors.map((factor, j) => `cast(${uniform(factor)} as double precision) as x${j + 1}`).join(", ");
const signal = factors.map((factor, j) => `${((j % 5) - 2) / 2} * ${uniform(factor)}`).join(" + ");
const made = `select cast(${signal} + 2 * ${uniform(179_424_673)} - 1 as double precision) as y, ${columns}`;
const names = factors.map((_, j) => `x${j + 1}`);
const array = `array[1, ${names.join(", ")}]`;

await client.query(`create table public.sample as ${made} from generate_series(1::bigint, ${rows}::bigint) as i`);
await client.query("vacuum analyze public.sample");
const instance = await DuckDBInstance.create(":memory:", { threads: String(threads) });
const duck = await instance.connect();
await duck.run(`create table sample as ${made} from range(1, ${rows + 1}) as source(i)`);

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

const numbers = async (sql: string): Promise<number[]> =>
  ((await (await duck.runAndReadAll(sql)).getRows())[0] ?? []).map(Number);

/** Sums and upper triangle of products over names, as a select list. */
const triangle = (list: readonly string[], weight = ""): string =>
  list.flatMap((a, i) => list.slice(i).map((b) => `sum(${weight}${a} * ${b})`)).join(", ");

function symmetric(values: readonly number[], size: number): number[][] {
  const matrix = Array.from({ length: size }, () => Array<number>(size).fill(0));
  let at = 0;
  for (let i = 0; i < size; i++) {
    for (let j = i; j < size; j++) {
      const value = values[at++] ?? 0;
      (matrix[i] as number[])[j] = value;
      (matrix[j] as number[])[i] = value;
    }
  }
  return matrix;
}

const times = (matrix: readonly (readonly number[])[], vector: readonly number[]): number[] =>
  matrix.map((row) => row.reduce((total, value, i) => total + value * (vector[i] ?? 0), 0));

async function duckLinear(): Promise<number[]> {
  const all = ["one", ...names, "y"];
  const gram = symmetric(await numbers(`select ${triangle(all)} from (select 1 as one, * from sample)`), 12);
  return times(
    inverse(gram.slice(0, 11).map((row) => row.slice(0, 11))),
    gram.slice(0, 11).map((row) => row[11] ?? 0),
  );
}

async function duckLogistic(iterations: number): Promise<number[]> {
  const all = ["one", ...names];
  let beta = [Math.log(0.5), ...names.map(() => 0)];
  const [share = 0.5] = await numbers("select avg(case when y > 0 then 1.0 else 0.0 end) from sample");
  beta[0] = Math.log(share / (1 - share));
  for (let iteration = 0; iteration < iterations; iteration++) {
    const eta = beta.map((value, j) => `${value} * ${all[j]}`).join(" + ");
    const sums = await numbers(
      `select ${all.map((name) => `sum(score * ${name})`).join(", ")}, sum(case when y > 0 then ln(mu) else ln(1 - mu) end), ${triangle(all, "weight * ")}
       from (select *, mu * (1 - mu) as weight, case when y > 0 then 1 else 0 end - mu as score
         from (select *, 1 / (1 + exp(-(${eta}))) as mu from (select 1 as one, * from sample)))`,
    );
    const step = times(inverse(symmetric(sums.slice(12), 11)), sums.slice(0, 11));
    beta = beta.map((value, j) => value + (step[j] ?? 0));
  }
  return beta;
}

const farthest = (a: readonly number[], b: readonly number[]): string =>
  Math.max(...a.map((value, i) => Math.abs(value - (b[i] ?? Number.NaN)))).toExponential(1);

const best = {
  scan: Infinity,
  linear: Infinity,
  logistic: Infinity,
  duckScan: Infinity,
  duckLinear: Infinity,
  duckLogistic: Infinity,
};
let [linear, logistic, iterations, duckLines, duckLogits] = [
  [] as number[],
  [] as number[],
  0,
  [] as number[],
  [] as number[],
];
for (let round = 0; round < rounds; round++) {
  await client.query("drop table if exists public.line, public.line_summary, public.logit, public.logit_summary");
  best.scan = Math.min(best.scan, await seconds(() => client.query("select count(*), avg(y) from public.sample")));
  best.linear = Math.min(
    best.linear,
    await seconds(() => client.query(`select ml.linregr_train('public.sample', 'public.line', 'y', '${array}')`)),
  );
  best.logistic = Math.min(
    best.logistic,
    await seconds(() => client.query(`select ml.logregr_train('public.sample', 'public.logit', 'y > 0', '${array}')`)),
  );
  linear = (await client.query<{ coef: number[] }>("select coef from public.line")).rows[0]?.coef ?? [];
  const fit = (
    await client.query<{ coef: number[]; num_iterations: number }>("select coef, num_iterations from public.logit")
  ).rows[0];
  logistic = fit?.coef ?? [];
  iterations = fit?.num_iterations ?? 0;
  best.duckScan = Math.min(best.duckScan, await seconds(() => duck.run("select count(*), avg(y) from sample")));
  best.duckLinear = Math.min(
    best.duckLinear,
    await seconds(async () => {
      duckLines = await duckLinear();
    }),
  );
  best.duckLogistic = Math.min(
    best.duckLogistic,
    await seconds(async () => {
      duckLogits = await duckLogistic(iterations);
    }),
  );
}

const line = (label: string, time: number, peer: number): string =>
  `${label.padEnd(34)} ${time.toFixed(2).padStart(7)} s  ${(time / best.scan).toFixed(1).padStart(6)} x scan   DuckDB ${peer.toFixed(2).padStart(6)} s  ratio ${(time / peer).toFixed(1)}`;
console.log(
  `${database.name}, ${rows.toLocaleString("en")} rows of 10 columns, best of ${rounds}; DuckDB with ${threads} threads\n`,
);
console.log(line("select count(*), avg(y)", best.scan, best.duckScan));
console.log(line("ml.linregr_train", best.linear, best.duckLinear));
console.log(line(`ml.logregr_train (${iterations} iterations)`, best.logistic, best.duckLogistic));
console.log(line("  one iteration", best.logistic / (iterations + 1), best.duckLogistic / iterations));
console.log(
  `\nlargest difference to DuckDB's coefficients: linear ${farthest(linear, duckLines)}, logistic ${farthest(logistic, duckLogits)}`,
);

const statement = (
  await client.query<{ text: string }>(
    `select format('explain (costs off) select count(*), count(*) filter (where complete), array[%s] from (%s) as row', array_to_string(ml._product_sums(design, 'd'), ', '), ml._rows(design)) as text
     from ml._design('public.sample', 'y', '${array}', null) as design`,
  )
).rows[0]?.text;
const plan = await client.query<Record<string, string>>(statement ?? "");
console.log("\nThe plan of the one scan of ml.linregr_train:");
for (const row of plan.rows) console.log(`  ${Object.values(row)[0]?.slice(0, 110)}`);
await database.close();
duck.closeSync();
