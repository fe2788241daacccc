import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";

const database = await testDatabase();

const value = (expression: string, ...values: number[]): Promise<number> =>
  database.value<number>(`select ${expression}`, values);

describe("distribution functions with a closed form", () => {
  test("F with 2 and n degrees of freedom", async () => {
    for (const [x, n] of [
      [0.3, 4],
      [3, 10],
      [12, 7],
    ] as const) {
      expect(await value("ml.fisher_f_cdf($1, 2, $2)", x, n)).toBeCloseTo(1 - (1 + (2 * x) / n) ** (-n / 2), 14);
    }
  });
});

describe("properties", () => {
  test("t squared is F", async () => {
    for (const [t, nu] of [
      [0.4, 3],
      [2.2, 17],
      [6, 2_000_000],
    ] as const) {
      const p = await value("ml._students_t_p_value($1, $2)", t, nu);
      expect(await value("1 - ml.fisher_f_cdf($1::float8 ^ 2, 1, $2)", t, nu)).toBeCloseTo(p, 12);
    }
  });
});
