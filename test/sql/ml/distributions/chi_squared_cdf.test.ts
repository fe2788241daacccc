import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";

const database = await testDatabase();

const value = (expression: string, ...values: number[]): Promise<number> =>
  database.value<number>(`select ${expression}`, values);

describe("distribution functions with a closed form", () => {
  test("chi-squared with 2 degrees of freedom is exponential, with 1 a squared normal", async () => {
    for (const x of [0.001, 0.5, 2, 9, 60]) {
      expect(await value("ml.chi_squared_cdf($1, 2)", x)).toBeCloseTo(1 - Math.exp(-x / 2), 14);
      const normal = await value("ml.normal_cdf(sqrt($1::float8)) - ml.normal_cdf(-sqrt($1::float8))", x);
      expect(await value("ml.chi_squared_cdf($1, 1)", x)).toBeCloseTo(normal, 13);
    }
  });
});
