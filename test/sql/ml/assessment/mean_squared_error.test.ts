import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { assessing, madlib } from "./assessment.ts";

const database = await lab();
const { load, refused, single } = assessing(database);

describe("regression measures", () => {
  test.skipIf(madlib === null)("agree with MADlib's answers (needs stat_oracles)", async () => {
    await load(madlib ?? []);
    expect(await single("mean_squared_error")).toBeCloseTo(220.3525, 10);
  });

  test("an error of a scaled problem is the scaled error", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({ prediction: fc.integer({ min: -99, max: 99 }), observed: fc.integer({ min: -99, max: 99 }) }),
          { minLength: 2 },
        ),
        fc.constantFrom(0.5, 3, 1000),
        async (pairs, factor) => {
          await load(pairs);
          const plain = await single("mean_squared_error");
          await load(pairs.map((pair) => ({ prediction: pair.prediction * factor, observed: pair.observed * factor })));
          expect(await single("mean_squared_error")).toBeCloseTo(plain * factor ** 2, 3);
        },
      ),
      { numRuns: 15 },
    );
  });
});

describe("invalid input is refused by name", () => {
  test("values", async () => {
    await load([]);
    expect(await refused("mean_squared_error")).toBe("CF004");
    await load([{ prediction: Number.NaN, observed: 1 }]);
    expect(await refused("mean_squared_error")).toBe("CF001");
  });
});
