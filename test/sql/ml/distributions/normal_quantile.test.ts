import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";

const database = await testDatabase();

const value = (expression: string, ...values: number[]): Promise<number> =>
  database.value<number>(`select ${expression}`, values);

describe("properties", () => {
  test("quantiles invert", async () => {
    await fc.assert(
      fc.asyncProperty(fc.double({ min: 1e-12, max: 1 - 1e-6, noNaN: true }), async (p) => {
        expect(await value("ml.normal_cdf(ml.normal_quantile($1, 3, 2), 3, 2)", p)).toBeCloseTo(p, 12);
      }),
      { numRuns: 60, seed: 20260201 },
    );
  });

  test("of the tails are the published ones", async () => {
    // NIST/SEMATECH e-Handbook of Statistical Methods, table 1.3.6.7.1: the cumulative distribution of the normal.
    expect(await value("ml.normal_quantile(0.975)")).toBeCloseTo(1.96, 3);
    expect(await value("ml.normal_quantile(0.95, 100, 15)")).toBeCloseTo(100 + 15 * 1.6449, 2);
  });
});

test("quantiles refuse a value that is not a probability", async () => {
  for (const expression of ["ml.normal_quantile(0)", "ml.normal_quantile(1.5)"]) {
    expect(await database.rejects(`select ${expression}`)).toMatchObject({ code: "CF001" });
  }
});

// R 4.2: qnorm(0.5 + d).
test.each([
  [1e-9, 2.50662820373871e-9],
  [-1e-9, -2.50662834288453e-9],
  [1e-6, 2.50662827470571e-6],
  [0.001, 2.50663089957177e-3],
  [0.09999999, 2.53347077252033e-1],
  [0.1, 2.533471031358e-1],
  [0.10000001, 2.53347129019567e-1],
])("near the middle, %d above 0.5, it keeps its digits", async (d, expected) => {
  const quantile = await database.value<number>("select ml.normal_quantile($1)", [0.5 + d]);
  expect(Math.abs(quantile / expected - 1)).toBeLessThan(1e-13);
});
