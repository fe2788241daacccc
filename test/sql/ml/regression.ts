import type { TestDatabase } from "../../support/database.ts";

/** Makes (or makes anew) a table from rows, with columns in SQL such as `id int, x float8[]`. */
export async function load(
  database: TestDatabase,
  table: string,
  columns: string,
  rows: readonly Readonly<Record<string, unknown>>[],
): Promise<void> {
  await database.query(`drop table if exists ${table} cascade`);
  await database.query(`create table ${table} (${columns})`);
  await database.query(`insert into ${table} select * from jsonb_to_recordset($1) as source (${columns})`, [
    JSON.stringify(rows),
  ]);
}

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

/** Correct digits of a value: its log relative error, or its absolute one where zero is expected; at most 16. */
export function digits(value: number, expected: number): number {
  const error = expected === 0 ? Math.abs(value) : Math.abs(value / expected - 1);
  return error === 0 ? 16 : Math.min(16, -Math.log10(error));
}

/** Fewest correct digits among several values. */
export function fewestDigits(values: readonly number[] | null, expected: readonly number[]): number {
  if (values?.length !== expected.length) return -1;
  return Math.min(...values.map((value, i) => digits(value, expected[i] ?? Number.NaN)));
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

/** Solves a small dense system by Gauss-Jordan elimination with pivoting; gives the inverse. */
export function invert(matrix: readonly (readonly number[])[]): number[][] {
  const n = matrix.length;
  const work = matrix.map((row, i) => [...row, ...Array.from({ length: n }, (_, j) => (i === j ? 1 : 0))]);
  for (let pivot = 0; pivot < n; pivot++) {
    let best = pivot;
    for (let i = pivot; i < n; i++) if (Math.abs(work[i]?.[pivot] ?? 0) > Math.abs(work[best]?.[pivot] ?? 0)) best = i;
    [work[pivot], work[best]] = [work[best] ?? [], work[pivot] ?? []];
    const head = (work[pivot] ?? []).map((value) => value / (work[pivot]?.[pivot] ?? Number.NaN));
    work[pivot] = head;
    for (const [i, row] of work.entries()) {
      if (i === pivot) continue;
      const factor = row[pivot] ?? 0;
      work[i] = row.map((value, j) => value - factor * (head[j] ?? 0));
    }
  }
  return work.map((row) => row.slice(n));
}

/** Sum of products of two lists. */
export const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((total, value, i) => total + value * (b[i] ?? 0), 0);

/** A reproducible stream of numbers in 0..1 (Mulberry32). */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 4294967296;
  };
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
