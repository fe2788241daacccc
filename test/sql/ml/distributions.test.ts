import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { digits } from "./regression.ts";

const database = await testDatabase();

const value = (expression: string, ...values: number[]): Promise<number> =>
  database.value<number>(`select ${expression}`, values);

describe("distribution functions with a closed form", () => {
  test("Student's t with 1 and 2 degrees of freedom", async () => {
    for (const x of [-40, -3, -0.2, 0, 0.7, 5]) {
      expect(await value("ml.students_t_cdf($1, 1)", x)).toBeCloseTo(0.5 + Math.atan(x) / Math.PI, 14);
      expect(await value("ml.students_t_cdf($1, 2)", x)).toBeCloseTo(0.5 + x / (2 * Math.sqrt(2 + x * x)), 14);
    }
  });

  test("chi-squared with 2 degrees of freedom is exponential, with 1 a squared normal", async () => {
    for (const x of [0.001, 0.5, 2, 9, 60]) {
      expect(await value("ml.chi_squared_cdf($1, 2)", x)).toBeCloseTo(1 - Math.exp(-x / 2), 14);
      const normal = await value("ml.normal_cdf(sqrt($1::float8)) - ml.normal_cdf(-sqrt($1::float8))", x);
      expect(await value("ml.chi_squared_cdf($1, 1)", x)).toBeCloseTo(normal, 13);
    }
  });

  test("F with 2 and n degrees of freedom", async () => {
    for (const [x, n] of [
      [0.3, 4],
      [3, 10],
      [12, 7],
    ] as const) {
      expect(await value("ml.fisher_f_cdf($1, 2, $2)", x, n)).toBeCloseTo(1 - (1 + (2 * x) / n) ** (-n / 2), 14);
    }
  });

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

describe("properties", () => {
  test("quantiles invert", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.double({ min: 1e-12, max: 1 - 1e-6, noNaN: true }),
        fc.double({ min: 0.5, max: 1e6, noNaN: true }),
        async (p, nu) => {
          expect(await value("ml.normal_cdf(ml.normal_quantile($1, 3, 2), 3, 2)", p)).toBeCloseTo(p, 12);
          expect(
            digits(await value("ml.students_t_cdf(ml.students_t_quantile($1, $2), $2)", p, nu), p),
          ).toBeGreaterThan(9);
        },
      ),
      { numRuns: 60, seed: 20260201 },
    );
  });

  test("Student's t is symmetric and tends to the normal", async () => {
    expect(await value("ml.students_t_cdf(-1.7, 5) + ml.students_t_cdf(1.7, 5)")).toBeCloseTo(1, 14);
    expect(await value("ml.students_t_cdf(1.7, 1e12)")).toBeCloseTo(await value("ml.normal_cdf(1.7)"), 11);
  });

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

test("quantiles refuse what is no probability", async () => {
  for (const expression of [
    "ml.normal_quantile(0)",
    "ml.normal_quantile(1.5)",
    "ml.students_t_quantile(1, 3)",
    "ml.students_t_quantile(0.5, 0)",
  ]) {
    expect(await database.rejects(`select ${expression}`)).toMatchObject({ code: "CF001" });
  }
});
