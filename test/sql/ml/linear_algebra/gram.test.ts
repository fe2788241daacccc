import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import * as algebra from "../../../support/matrix.ts";
import { call, random, refused, seed, size } from "./linear_algebra.ts";

const database = await testDatabase();

describe("products", () => {
  test("are those of direct algebra, for any shapes", async () => {
    await fc.assert(
      fc.asyncProperty(size, size, seed, async (m, k, seed) => {
        const a = random(m, k, seed);
        const expected = algebra.multiply(algebra.transpose(a), a);
        expect(algebra.difference(await call(database, "gram", a), expected)).toBeLessThan(1e-5);
      }),
      { numRuns: 30 },
    );
  });

  test("refuse what does not fit", async () => {
    expect(await refused(database, 'select ml.gram(\'{"[1,2]", "[3]"}\')')).toBe(
      "CF001 the rows of matrix matrix have 1 to 2 columns",
    );
    expect(await refused(database, "select ml.gram('{\"[1,2]\", null}')")).toBe(
      "CF001 the matrix matrix is not a list of rows: 1 of 2 entries are null",
    );
  });
});
