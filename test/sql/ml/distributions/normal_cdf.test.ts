import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { digits } from "../../../support/numbers.ts";

const database = await testDatabase();

const value = (expression: string, ...values: number[]): Promise<number> =>
  database.value<number>(`select ${expression}`, values);

describe("distribution functions with a closed form", () => {
  test("the normal distribution against its power series", async () => {
    for (const x of [-3.1, -1, -0.01, 0, 0.5, 2.5, 3.9]) {
      let [term, total] = [x, x];
      for (let i = 1; i < 200; i++) {
        term *= (-x * x) / (2 * i);
        total += term / (2 * i + 1);
      }
      expect(await value("ml.normal_cdf($1)", x)).toBeCloseTo(0.5 + total / Math.sqrt(2 * Math.PI), 13);
    }
  });

  test("the far tail of the normal distribution against its asymptotic series", async () => {
    for (const x of [12, 20, 30]) {
      let [term, total] = [1, 1];
      for (let i = 1; i < 40; i++) {
        term *= -(2 * i - 1) / (x * x);
        total += term;
      }
      const tail = (Math.exp((-x * x) / 2) / (x * Math.sqrt(2 * Math.PI))) * total;
      expect(digits(await value("ml.normal_cdf($1)", -x), tail)).toBeGreaterThan(11);
      expect(digits(await value("ml._normal_p_value($1)", x), 2 * tail)).toBeGreaterThan(11);
    }
  });
});
