import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";

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
});

describe("properties", () => {
  test("Student's t is symmetric and tends to the normal", async () => {
    expect(await value("ml.students_t_cdf(-1.7, 5) + ml.students_t_cdf(1.7, 5)")).toBeCloseTo(1, 14);
    expect(await value("ml.students_t_cdf(1.7, 1e12)")).toBeCloseTo(await value("ml.normal_cdf(1.7)"), 11);
  });
});
