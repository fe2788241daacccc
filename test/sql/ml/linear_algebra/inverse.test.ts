import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import * as algebra from "../../../support/matrix.ts";
import { call, positive, seed, size, wild } from "./linear_algebra.ts";

const database = await testDatabase();

describe("the inverse", () => {
  test("of a small positive definite matrix is that of direct algebra", async () => {
    await fc.assert(
      fc.asyncProperty(size, seed, async (n, seed) => {
        const matrix = positive(n, seed);
        expect(algebra.difference(await call(database, "inverse", matrix), algebra.inverse(matrix))).toBeLessThan(1e-4);
      }),
      { numRuns: 30 },
    );
  });

  test.each([48, 49, 97, 250, 401])("of %i rows, which is cut into blocks, too", async (n) => {
    const matrix = positive(n, n);
    const inverse = await call(database, "inverse", matrix);
    expect(algebra.difference(algebra.multiply(matrix, inverse), algebra.identity(n))).toBeLessThan(1e-5);
  });

  test("does not care for the units of the rows", async () => {
    const n = 60;
    const unit = Array.from({ length: n }, (_, i) => 10 ** (-6 + (12 * i) / n));
    const matrix = positive(n, 3).map((row, i) => row.map((v, j) => Math.fround(v * (unit[i] ?? 1) * (unit[j] ?? 1))));
    const inverse = await call(database, "inverse", matrix);
    const scaled = inverse.map((row, i) => row.map((v, j) => v * (unit[i] ?? 1) * (unit[j] ?? 1)));
    const plain = matrix.map((row, i) => row.map((v, j) => v / (unit[i] ?? 1) / (unit[j] ?? 1)));
    expect(algebra.difference(algebra.multiply(plain, scaled), algebra.identity(n))).toBeLessThan(1e-4);
  });

  test("stays exact to single precision when the matrix is ill conditioned", async () => {
    // Largest eigenvalue about 0.9 n against a smallest of 0.1.
    const n = 300;
    const matrix = Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => (i === j ? 1 : 0.9)));
    const inverse = await call(database, "inverse", matrix);
    expect(algebra.difference(algebra.multiply(matrix, inverse), algebra.identity(n))).toBeLessThan(1e-3);
  });

  test("is refused, with the row, where there is none", async () => {
    const refused = async (matrix: algebra.Matrix): Promise<{ code: string | undefined; message: string }> => {
      const error = await database.rejects("select ml.inverse($1::text[]::vector[])", [algebra.toSql(matrix)]);
      expect(error.hint).toBeTruthy();
      return { code: error.code, message: error.message };
    };
    expect(
      await refused([
        [1, 2],
        [2, 4],
      ]),
    ).toEqual({
      code: "CF007",
      message: expect.stringMatching(/^the matrix is singular, or nearly singular .* of row 2$/),
    });
    expect(
      await refused([
        [1, 2],
        [2, 1],
      ]),
    ).toEqual({
      code: "CF007",
      message: "the matrix is not positive definite: pivot -3 of row 2",
    });
    expect(
      await refused([
        [1, 0, 0],
        [0, -2, 0],
        [0, 0, 0],
      ]),
    ).toEqual({
      code: "CF007",
      message: "the matrix is not positive definite: -2 on the diagonal of row 2",
    });
    expect(
      await refused([
        [1, 0.5],
        [0.25, 1],
      ]),
    ).toEqual({ code: "CF001", message: "the matrix is not symmetric" });
    expect(
      await refused([
        [1, 0],
        [0, 1],
        [0, 0],
      ]),
    ).toEqual({
      code: "CF001",
      message: "the matrix has 3 rows and 2 columns",
    });

    // Two equal rows far into a matrix of several blocks.
    const matrix = positive(130, 9);
    const copied = matrix.map((row) => [...row]);
    for (let i = 0; i < 130; i++) {
      const line = copied[i];
      if (line !== undefined) line[111] = matrix[i]?.[7] ?? 0;
    }
    copied[111] = [...(copied[7] ?? [])];
    expect(await refused(copied)).toEqual({ code: "CF007", message: expect.stringMatching(/of row 112$/) });
  });

  test("of entries of any size is a matrix or an error that names it", async () => {
    await wild(database, "select ml.inverse($1::text[]::vector[]), $2::text[]");
    const inverse = await call(database, "inverse", [
      [1e-30, 1e-40],
      [1e-40, 1e30],
    ]);
    expect(inverse[0]?.[0]).toBeCloseTo(1e30, -25);
    expect((inverse[1]?.[1] ?? 0) * 1e30).toBeCloseTo(1, 6);
    expect(inverse[0]?.[1]).toBeCloseTo(0, 30);
    expect(await database.rejects('select ml.inverse(\'{"[1e33,1e21]","[0,1e-35]"}\'::vector[])')).toMatchObject({
      code: "CF007",
      message: "the matrix is not positive definite: an entry is larger than the diagonal allows",
    });
  });
});
