import type { TestDatabase } from "../../../support/database.ts";
import { load } from "../../../support/lab.ts";
import { dot, generator, inverse } from "../../../support/matrix.ts";

/** Runs a trainer, whose output goes to the table `out`, and gives the rows of that table. */
export async function train<T extends object = Record<string, unknown>>(
  database: TestDatabase,
  call: string,
  out = "lab.model",
): Promise<T[]> {
  await database.query(`drop table if exists ${out}, ${out}_summary`);
  await database.query(`select ${call}`);
  return database.rows<T>(`select * from ${out}`);
}

/** The published values of one table of the Statistical oracles, in the order of their index. */
export function published(rows: readonly Record<string, string | null>[], model: string, statistic: string): number[] {
  return rows
    .filter((row) => row["model"]?.startsWith(model) && row["statistic"] === statistic)
    .sort((a, b) => Number(a["index"]) - Number(b["index"]))
    .map((row) => Number(row["value"]));
}

/** A fraction of whole numbers. */
interface Fraction {
  readonly over: bigint;
  readonly under: bigint;
}

const shorten = (over: bigint, under: bigint): Fraction => {
  let [a, b] = [over < 0n ? -over : over, under < 0n ? -under : under];
  while (b !== 0n) [a, b] = [b, a % b];
  const sign = under < 0n ? -1n : 1n;
  return a === 0n ? { over: 0n, under: 1n } : { over: (sign * over) / a, under: (sign * under) / a };
};
const minus = (a: Fraction, b: Fraction): Fraction => shorten(a.over * b.under - b.over * a.under, a.under * b.under);
const times = (a: Fraction, b: Fraction): Fraction => shorten(a.over * b.over, a.under * b.under);
const through = (a: Fraction, b: Fraction): Fraction => shorten(a.over * b.under, a.under * b.over);

function toNumber({ over, under }: Fraction): number {
  // 40 significant digits before the one rounding
  const scaled = (over * 10n ** 60n) / under;
  return Number(scaled) / 1e60;
}

/**
 * Least squares of whole numbers in exact rational arithmetic: coefficients, or null when the columns are collinear.
 * Independent of the database's floating point and of its decimals.
 */
export function exactLeastSquares(x: readonly (readonly number[])[], y: readonly number[]): number[] | null {
  const width = x[0]?.length ?? 0;
  const sum = (value: (row: readonly number[], i: number) => bigint): Fraction => ({
    over: x.reduce((total, row, i) => total + value(row, i), 0n),
    under: 1n,
  });
  const system = Array.from({ length: width }, (_, i) => [
    ...Array.from({ length: width }, (_, j) => sum((row) => BigInt(row[i] ?? 0) * BigInt(row[j] ?? 0))),
    sum((row, at) => BigInt(row[i] ?? 0) * BigInt(y[at] ?? 0)),
  ]);
  for (let pivot = 0; pivot < width; pivot++) {
    const found = system.findIndex((row, i) => i >= pivot && row[pivot]?.over !== 0n);
    if (found < 0) return null;
    [system[pivot], system[found]] = [system[found] ?? [], system[pivot] ?? []];
    const head = system[pivot] ?? [];
    for (const [i, row] of system.entries()) {
      if (i === pivot) continue;
      const factor = through(row[pivot] as Fraction, head[pivot] as Fraction);
      system[i] = row.map((value, j) => minus(value, times(factor, head[j] as Fraction)));
    }
  }
  return system.map((row, i) => toNumber(through(row[width] as Fraction, row[i] as Fraction)));
}

/** MADlib's patients, rows without nulls (robust regression, documentation of Apache MADlib). */
export const patients: readonly (readonly [number, number, number])[] = [
  [1, 1, 70],
  [1, 1, 80],
  [1, 1, 50],
  [1, 0, 60],
  [1, 0, 40],
  [1, 0, 65],
  [1, 0, 75],
  [1, 0, 80],
  [1, 0, 70],
  [1, 0, 60],
  [0, 1, 65],
  [0, 1, 50],
  [0, 1, 45],
  [0, 1, 35],
  [0, 1, 40],
  [0, 1, 50],
  [0, 0, 55],
  [0, 0, 45],
  [0, 0, 50],
  [0, 0, 60],
];

/** The example in the documentation of MADlib's mlogregr: two features and a category. */
export const categories =
  "1351 2330 3391 1371 2311 3360 2361 2311 2411 2371 1441 3332 1311 2441 1351 1440 1460 2461 2462 3491 2390 2441 1471 1441 1372 3382 1490 2440 3612 1652 3671 3652 1652 2672 1652 1622 3522 3632 2592 3652 2590 3672 3672 3602 3672 3622 2542 3652 3622 2592 3602 3632 3652 2631 2672 2652 2622"
    .split(" ")
    .map((digitsOf) => ({ a: Number(digitsOf[0]), b: Number(digitsOf.slice(1, 3)), y: Number(digitsOf[3]) }));

/** A learner who leaves after some time, or is lost from sight. */
export interface Stay {
  time: number;
  seen: boolean;
  x: number[];
  stratum: number;
}

/** The example in the documentation of MADlib's coxph_train, remissions of leukaemia: b is the group, a the logarithm of the white cells. */
export const remissions: readonly Stay[] = (() => {
  const white = [
    1.45, 1.47, 2.2, 1.78, 2.57, 2.32, 2.01, 2.05, 2.16, 3.6, 2.3, 2.88, 1.5, 2.6, 2.7, 2.8, 2.32, 4.43, 2.31, 3.49,
    2.42, 4.01, 4.91, 5,
  ];
  const time = [35, 34, 32, 25, 23, 22, 20, 19, 17, 16, 15, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1];
  const group = [10, 12, 16, 19, 20, 21, 22, 23];
  return white.map((count, i) => ({
    time: time[i] ?? 0,
    seen: true,
    x: [count, group.includes(i) ? 1 : 0],
    stratum: 1,
  }));
})();

/** Puts stays into lab.stay. */
export const putStays = (database: TestDatabase, rows: readonly Stay[]): Promise<void> =>
  load(
    database,
    "lab.stay",
    "time int, seen boolean, a float8, b int, stratum int",
    rows.map(({ time, seen, x: [a, b], stratum }) => ({ time, seen, a, b, stratum })),
  );

export interface SandwichRow {
  id: number;
  a: number;
  b: number;
  g: number;
  y: number;
  c: number;
}

/** Rows whose spread grows with a and whose errors are shared within a class. */
const next = generator(99);
const shared = Array.from({ length: 12 }, () => next() * 6 - 3);
export const sandwichRows: readonly SandwichRow[] = Array.from({ length: 96 }, (_, id) => {
  const [a, b, g] = [next() * 10, next() * 4 + 1000, id % 12];
  const y = 2 + a - 0.5 * b + (shared[g] ?? 0) + a * (next() - 0.5);
  return { id, a, b, g, y, c: y + 490 > 0 ? (next() < 0.9 ? 1 : 0) : next() < 0.2 ? 1 : 0 };
});
export const sandwichColumns = "id int, a float8, b float8, g int, y float8, c int";

/** Sandwich errors from their definition: squared scores, or squared totals of clusters. */
export function sandwich(
  coef: readonly number[],
  logistic: boolean,
  cluster: ((row: SandwichRow) => number) | null,
): number[] {
  const at = sandwichRows.map((row) => {
    // b is moved to its middle: the errors of all but the intercept do not change, and the inverse keeps its digits
    const x = [1, row.a, row.b - 1002];
    const eta = dot(coef, [1, row.a, row.b]);
    const mu = logistic ? 1 / (1 + Math.exp(-eta)) : eta;
    return { x, weight: logistic ? mu * (1 - mu) : 1, score: (logistic ? row.c : row.y) - mu, row };
  });
  const bread = inverse(
    [0, 1, 2].map((i) =>
      [0, 1, 2].map((j) => at.reduce((total, { x, weight }) => total + weight * (x[i] ?? 0) * (x[j] ?? 0), 0)),
    ),
  );
  const totals = new Map<number, number[]>();
  for (const { x, score, row } of at) {
    const key = cluster === null ? row.id : cluster(row);
    const total = totals.get(key) ?? [0, 0, 0];
    totals.set(
      key,
      total.map((value, i) => value + score * (x[i] ?? 0)),
    );
  }
  const meat = [0, 1, 2].map((i) =>
    [0, 1, 2].map((j) => [...totals.values()].reduce((sum, total) => sum + (total[i] ?? 0) * (total[j] ?? 0), 0)),
  );
  const [m, n] = [totals.size, sandwichRows.length];
  const factor = cluster === null ? 1 : (m / (m - 1)) * ((n - 1) / (n - 3));
  return [1, 2].map((i) => {
    const half = [0, 1, 2].map((j) =>
      dot(
        bread[i] ?? [],
        meat.map((row) => row[j] ?? 0),
      ),
    );
    return Math.sqrt(
      factor *
        dot(
          half,
          bread.map((row) => row[i] ?? 0),
        ),
    );
  });
}

/** Makes lab.tied: 60 stays with many ties, 15 of them censored, in two strata and twelve clusters of five rows. */
export const putTied = (database: TestDatabase): Promise<unknown> =>
  database.query(`
    create table lab.tied as
    select i as row_no, i * 7 % 13 + 1 as time, i % 4 <> 0 as seen, (i * 11 % 17) / 4.0::float8 as a,
      (i % 3 = 0)::int as b, i % 2 as stratum, i % 12 as learner, 1 as constant
    from generate_series(1, 60) as i
  `);

/** Makes lab.vote: 90 rows with three categories, two columns and ten clusters of nine rows. */
export const putVotes = (database: TestDatabase): Promise<unknown> =>
  database.query(`
    create table lab.vote as
    select i as row_no, (i * i * 7 + i / 5) % 3 as y, (i * 11 % 17) / 4.0::float8 as a, (i % 4 = 0)::int as b,
      i % 10 as learner, 1 as constant
    from generate_series(1, 90) as i
  `);

/** R's mtcars (Henderson and Velleman 1981): mpg, wt, hp, am, cyl, gear, carb, disp and qsec. */
export const cars: readonly Record<string, number>[] = `
  21 2.62 110 1 6 4 4 160 16.46, 21 2.875 110 1 6 4 4 160 17.02, 22.8 2.32 93 1 4 4 1 108 18.61,
  21.4 3.215 110 0 6 3 1 258 19.44, 18.7 3.44 175 0 8 3 2 360 17.02, 18.1 3.46 105 0 6 3 1 225 20.22,
  14.3 3.57 245 0 8 3 4 360 15.84, 24.4 3.19 62 0 4 4 2 146.7 20, 22.8 3.15 95 0 4 4 2 140.8 22.9,
  19.2 3.44 123 0 6 4 4 167.6 18.3, 17.8 3.44 123 0 6 4 4 167.6 18.9, 16.4 4.07 180 0 8 3 3 275.8 17.4,
  17.3 3.73 180 0 8 3 3 275.8 17.6, 15.2 3.78 180 0 8 3 3 275.8 18, 10.4 5.25 205 0 8 3 4 472 17.98,
  10.4 5.424 215 0 8 3 4 460 17.82, 14.7 5.345 230 0 8 3 4 440 17.42, 32.4 2.2 66 1 4 4 1 78.7 19.47,
  30.4 1.615 52 1 4 4 2 75.7 18.52, 33.9 1.835 65 1 4 4 1 71.1 19.9, 21.5 2.465 97 0 4 3 1 120.1 20.01,
  15.5 3.52 150 0 8 3 2 318 16.87, 15.2 3.435 150 0 8 3 2 304 17.3, 13.3 3.84 245 0 8 3 4 350 15.41,
  19.2 3.845 175 0 8 3 2 400 17.05, 27.3 1.935 66 1 4 4 1 79 18.9, 26 2.14 91 1 4 5 2 120.3 16.7,
  30.4 1.513 113 1 4 5 2 95.1 16.9, 15.8 3.17 264 1 8 5 4 351 14.5, 19.7 2.77 175 1 6 5 6 145 15.5,
  15 3.57 335 1 8 5 8 301 14.6, 21.4 2.78 109 1 4 4 2 121 18.6
`
  .trim()
  .split(/,\s*/)
  .map((line, i) => {
    const [mpg, wt, hp, am, cyl, gear, carb, disp, qsec] = line.trim().split(" ").map(Number) as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    return { id: i + 1, mpg, wt, hp, am, cyl, gear, carb, disp, qsec };
  });
export const carColumns =
  "id int primary key, mpg float8, wt float8, hp float8, am int, cyl int, gear int, carb int, disp float8, qsec numeric";

/** Makes lab.indicator: 250 groups of five rows, of which two or three are `yes`; x is 1 and an indicator per group but the first. */
export const putIndicators = (database: TestDatabase): Promise<unknown> =>
  database.query(`
    create table lab.indicator as
    select g, i <= 2 + g % 2 as yes, g + i as value,
      array(select (place in (1, g))::int::float8 from generate_series(1, 250) as place order by place) as x
    from generate_series(1, 250) as g
    cross join generate_series(1, 5) as i
  `);
