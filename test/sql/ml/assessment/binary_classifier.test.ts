import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { assessing, scored } from "./assessment.ts";

const database = await lab();
const { load, measure, refused } = assessing(database);

describe("measures of a score", () => {
  test("binary_classifier counts every threshold", async () => {
    await fc.assert(
      fc.asyncProperty(scored, async (pairs) => {
        await load(pairs);
        const rows = await measure("binary_classifier");
        expect(rows.length).toBe(new Set(pairs.map((pair) => pair.prediction)).size);
        for (const row of rows) {
          const positive = pairs.filter((pair) => pair.prediction >= (row["threshold"] as number));
          const hits = positive.filter((pair) => pair.observed === 1).length;
          const positives = pairs.filter((pair) => pair.observed === 1).length;
          expect([row["tp"], row["fp"], row["fn"], row["tn"]].map(Number)).toEqual([
            hits,
            positive.length - hits,
            positives - hits,
            pairs.length - positives - positive.length + hits,
          ]);
          expect(row["tpr"]).toBeCloseTo(hits / positives, 12);
          expect(row["ppv"]).toBeCloseTo(hits / positive.length, 12);
          expect(row["f1"]).toBeCloseTo((2 * hits) / (positives + positive.length), 12);
        }
      }),
      { numRuns: 10 },
    );
  });
});

describe("invalid input is refused by name", () => {
  test("values", async () => {
    await load([{ prediction: 0.5, observed: 1 }]);
    expect(await refused("binary_classifier")).toBe("CF004");
    await load([{ prediction: 0.5, observed: 2 }]);
    expect(await refused("binary_classifier")).toBe("CF001");
  });
});
