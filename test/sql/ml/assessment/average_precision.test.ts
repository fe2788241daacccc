import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { assessing, type Pair, scored } from "./assessment.ts";

const database = await lab();
const { load, refused, single } = assessing(database);

function averagePrecision(pairs: readonly Pair[]): number {
  const positives = pairs.filter((pair) => pair.observed === 1).length;
  const thresholds = [...new Set(pairs.map((pair) => pair.prediction))].sort((a, b) => b - a);
  let recallBefore = 0;
  let sum = 0;
  for (const threshold of thresholds) {
    const above = pairs.filter((pair) => pair.prediction >= threshold);
    const hits = above.filter((pair) => pair.observed === 1).length;
    sum += (hits / positives - recallBefore) * (hits / above.length);
    recallBefore = hits / positives;
  }
  return sum;
}

describe("measures of a score", () => {
  test("area and average precision are those of the definitions, in any order of rows, duplicated or rescaled", async () => {
    await fc.assert(
      fc.asyncProperty(scored, async (pairs) => {
        await load(pairs);
        expect(await single("average_precision")).toBeCloseTo(averagePrecision(pairs), 12);
        await load([...pairs, ...pairs].reverse().map((pair) => ({ ...pair, prediction: 7 * pair.prediction - 3 })));
        expect(await single("average_precision")).toBeCloseTo(averagePrecision(pairs), 12);
      }),
      { numRuns: 20 },
    );
  });
});

describe("invalid input is refused by name", () => {
  test("values", async () => {
    await load([{ prediction: 0.5, observed: 1 }]);
    expect(await refused("average_precision")).toBe("CF004");
    await load([{ prediction: 0.5, observed: 2 }]);
    expect(await refused("average_precision")).toBe("CF001");
  });
});
