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
        const expected = algebra.multiply(a, b);
        expect(algebra.difference(await call(database, "multiply", a, b), expected)).toBeLessThan(1e-5);
      }),
      { numRuns: 30 },
    );
  });

  test("refuse what does not fit", async () => {
    expect(await refused(database, "select ml.multiply('{\"[1,2]\"}', '{\"[1,2]\"}')")).toBe(
      "CF001 a has 2 columns, b has 1 rows",
    );
    expect(await refused(database, "select ml.multiply('{}', '{\"[1]\"}')")).toBe("CF004 the matrix a has no rows");
  });
});
