import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import * as algebra from "../../../support/matrix.ts";
import { call, random, refused, seed, size } from "./linear_algebra.ts";

const database = await testDatabase();

describe("products", () => {
  test("are those of direct algebra, for any shapes", async () => {
    await fc.assert(
      fc.asyncProperty(size, size, size, seed, async (m, k, n, seed) => {
        const a = random(m, k, seed);
        const b = random(k, n, seed + 1);
        const found = await call(database, "multiply_transposed", a, algebra.transpose(b));
        expect(algebra.difference(found, algebra.multiply(a, b))).toBeLessThan(1e-5);
      }),
      { numRuns: 30 },
    );
  });

  test("keep the order of rows and columns when the matrix is large", async () => {
    const a = random(300, 120, 1);
    const b = random(250, 120, 2);
    const expected = algebra.multiply(a, algebra.transpose(b));
    expect(algebra.difference(await call(database, "multiply_transposed", a, b), expected)).toBeLessThan(1e-4);
  });

  test("refuse what does not fit", async () => {
    expect(await refused(database, "select ml.multiply_transposed('{\"[1,2]\"}', '{\"[1,2,3]\"}')")).toBe(
      "CF001 the rows of a have 2 columns, those of b 3",
    );
    expect(
      await refused(
        database,
        "select ml.multiply_transposed('{\"[1]\"}', (select array_agg('[1]'::vector) from generate_series(1, 16001)))",
      ),
    ).toBe("CF008 16001 rows of b are too many");
  });
});
