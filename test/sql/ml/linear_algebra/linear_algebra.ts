import fc from "fast-check";
import { expect } from "vitest";
import type { TestDatabase } from "../../../support/database.ts";
import * as algebra from "../../../support/matrix.ts";

/** Calls a function of matrices that returns one. */
export async function call(database: TestDatabase, name: string, ...matrices: algebra.Matrix[]): Promise<number[][]> {
  const values = matrices.map(algebra.toSql);
  const parameters = matrices.map((_, i) => `$${i + 1}::text[]::vector[]`).join(", ");
  return algebra.fromSql(await database.value<string[]>(`select ml.${name}(${parameters})::text[]`, values));
}

/** The code and the message of a refused statement. Each error has a hint. */
export async function refused(database: TestDatabase, sql: string, values: readonly unknown[] = []): Promise<string> {
  const error = await database.rejects(sql, values);
  expect(error.hint).toBeTruthy();
  return `${error.code} ${error.message}`;
}

export function random(rows: number, columns: number, seed: number): number[][] {
  const next = algebra.generator(seed);
  return Array.from({ length: rows }, () => Array.from({ length: columns }, () => Math.fround(next() - 0.5)));
}

/** AᵀA plus a ridge: symmetric positive definite, rounded as pgvector will. */
export function positive(n: number, seed: number, ridge = n / 4): number[][] {
  const a = random(n + 3, n, seed);
  return algebra
    .add(algebra.multiply(algebra.transpose(a), a), algebra.identity(n, ridge))
    .map((row) => row.map(Math.fround));
}

export const size = fc.integer({ min: 1, max: 12 });
export const seed = fc.integer();
