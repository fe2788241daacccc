import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { assessing } from "./assessment.ts";

const database = await lab();
const { load, measure, refused } = assessing(database);

describe("regression measures", () => {
  test("adjusted r2 corrects for the predictors, in MADlib's argument order", async () => {
    await load([1, 2, 3, 4, 5].map((x) => ({ prediction: x, observed: x + (x % 2 ? 0.5 : -0.5) })));
    const [row] = await measure("adjusted_r2_score", ", 2, 50");
    const r2 = row?.["r2_score"] as number;
    expect(row?.["adjusted_r2_score"]).toBeCloseTo(1 - ((1 - r2) * 49) / 47, 12);
  });

  test("is refused where the predictors leave no rows to correct with", async () => {
    await load([1, 2, 3].map((x) => ({ prediction: x, observed: x + (x % 2) / 2 })));
    for (const counts of [", null, 50", ", -1, 50", ", 3, 4"]) {
      expect(await refused("adjusted_r2_score", counts), counts).toBe("CF001");
    }
  });
});
