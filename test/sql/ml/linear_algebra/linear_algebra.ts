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

/**
 * Matrices whose entries are of any size that single precision has, and positive definite ones in any units: the
 * statement of $1, a matrix, and $2, a matrix of as many columns, gives a result or an error of class CF.
 */
export async function wild(database: TestDatabase, sql: string): Promise<void> {
  const next = algebra.generator(7);
  const number = (): number =>
    next() < 0.2 ? 0 : Math.fround((next() < 0.5 ? -1 : 1) * (1 + next()) * 10 ** (next() * 82 - 44));
  const square = (n: number): number[][] => Array.from({ length: n }, () => Array.from({ length: n }, number));
  const definite = (n: number): number[][] => {
    const unit = Array.from({ length: n }, () => 10 ** (next() * 35.9 - 18));
    const matrix = algebra.identity(n);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < i; j++) {
        const link = next() < 0.3 ? 0 : ((next() - 0.5) / n) * 10 ** (next() * -40);
        for (const [row, column] of [[i, j] as const, [j, i] as const]) (matrix[row] ?? [])[column] = link;
      }
    return matrix.map((row, i) => row.map((v, j) => Math.fround(v * (unit[i] ?? 1) * (unit[j] ?? 1))));
  };
  const codes = new Set<string>();
  for (let run = 0; run < 150; run++) {
    const n = 1 + (run % 5);
    const values = [run % 2 === 0 ? definite(n) : square(n), square(n)].map(algebra.toSql);
    const code = await database.query(sql, values).then(
      () => "a result",
      (error: { code?: string }) => error.code ?? "none",
    );
    codes.add(code.replace(/^CF.*/, "CF"));
  }
  expect([...codes].sort()).toEqual(["CF", "a result"]);
}
