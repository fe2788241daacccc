import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { assessing } from "./assessment.ts";

const database = await lab();
const { load, measure, refused } = assessing(database);

describe("measures of a probability", () => {
  test("a calibration curve holds every row once, and a calibrated forecast is in its intervals", async () => {
    // 1,000 rows a decile whose observed share is exactly the prediction.
    const pairs = [0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95].flatMap((p) =>
      Array.from({ length: 100 }, (_, i) => ({ prediction: p, observed: i < p * 100 - 1e-9 ? 1 : 0 })),
    );
    await load(pairs);
    for (const strategy of ["uniform", "quantile"]) {
      const rows = await measure("calibration_curve", `, null, 10, '${strategy}'`);
      expect(rows.length).toBe(10);
      expect(rows.reduce((sum, row) => sum + Number(row["num_rows"]), 0)).toBe(1000);
      for (const row of rows) {
        expect(row["fraction_positive"]).toBeCloseTo(row["mean_predicted"] as number, 10);
        expect(row["lower_95"] as number).toBeLessThan(row["mean_predicted"] as number);
        expect(row["upper_95"] as number).toBeGreaterThan(row["mean_predicted"] as number);
      }
    }
  });

  test("the Wilson interval is the published one", async () => {
    // Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17, 1998: 81 of 263.
    await load(Array.from({ length: 263 }, (_, i) => ({ prediction: 0.31, observed: i < 81 ? 1 : 0 })));
    const [row] = await measure("calibration_curve");
    expect(row?.["lower_95"]).toBeCloseTo(0.2553, 4);
    expect(row?.["upper_95"]).toBeCloseTo(0.3662, 4);
  });
});

describe("invalid input is refused by name", () => {
  test("values", async () => {
    await load([
      { prediction: 0.5, observed: 2 },
      { prediction: 0.5, observed: 1 },
    ]);
    expect(await refused("calibration_curve")).toBe("CF001");
    await load([{ prediction: 0.5, observed: 1 }]);
    expect(await refused("calibration_curve", ", null, 1")).toBe("CF001");
    expect(await refused("calibration_curve", ", null, 10, 'sorted'")).toBe("CF001");
  });
});
