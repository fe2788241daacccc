import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { digits } from "../../../support/numbers.ts";

const database = await testDatabase();

const value = (expression: string, ...values: number[]): Promise<number> =>
  database.value<number>(`select ${expression}`, values);

describe("properties", () => {
  test("quantiles invert", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.double({ min: 1e-12, max: 1 - 1e-6, noNaN: true }),
        fc.double({ min: 0.5, max: 1e6, noNaN: true }),
        async (p, nu) => {
          expect(
            digits(await value("ml.students_t_cdf(ml.students_t_quantile($1, $2), $2)", p, nu), p),
          ).toBeGreaterThan(9);
        },
      ),
      { numRuns: 60, seed: 20260201 },
    );
  });

  test("of the tails are the published ones", async () => {
    // NIST/SEMATECH e-Handbook of Statistical Methods, table 1.3.6.7.2: upper critical values of Student's t.
    for (const [p, nu, published] of [
      [0.95, 1, 6.314],
      [0.975, 10, 2.228],
      [0.999, 30, 3.385],
    ] as const) {
      expect(await value("ml.students_t_quantile($1, $2)", p, nu)).toBeCloseTo(published, 3);
    }
  });
});

test("quantiles refuse a value that is not a probability", async () => {
  for (const expression of ["ml.students_t_quantile(1, 3)", "ml.students_t_quantile(0.5, 0)"]) {
    expect(await database.rejects(`select ${expression}`)).toMatchObject({ code: "CF001" });
  }
});
