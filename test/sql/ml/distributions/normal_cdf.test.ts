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

  test("null stays null, NaN stays NaN, and what is too large is bounded", async () => {
    expect(
      await database.rows(
        "select ml._finite_range(x) as y from unnest(array[null, 'NaN', 'Infinity', '-Infinity', 1e-200, -2.5]::float8[]) with ordinality as t (x, place) order by place",
      ),
    ).toEqual([null, Number.NaN, 1e100, -1e100, 0, -2.5].map((y) => ({ y })));
    expect(
      await database.rows(
        "select (ml._chi2_test(null, 3, 2)).p_value as chi2, (ml._t_test(null, 1, 2)).p_value_two_sided as t, ml.normal_cdf(null) as normal",
      ),
    ).toEqual([{ chi2: null, t: null, normal: null }]);
  });
});
