import fc from "fast-check";
import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";

const database = await testDatabase();

const holm = (values: (number | null)[]): Promise<number[]> =>
  database.value<number[]>("select experiment.holm($1)", [values]);

// packages/shared/test/experiments.test.ts of growthbook/growthbook at 8f1db44
test("GrowthBook's adjusted p-values, in the order of the given ones", async () => {
  expect(await holm([0.01, 0.04, 0.03, 0.005, 0.55, 0.6])).toEqual([0.05, 0.12, 0.12, 0.03, 1, 1]);
  expect(await holm([0.025, 0.03])).toEqual([0.05, 0.05]);
});

test("by the definition: the largest of p times the number of p-values that are not smaller", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 20 }), async (values) => {
      const adjusted = await holm(values);
      const sorted = [...values].sort((a, b) => a - b);
      values.forEach((value, i) => {
        const expected = Math.min(
          1,
          Math.max(...sorted.flatMap((p, rank) => (p <= value ? [p * (values.length - rank)] : []))),
        );
        expect(adjusted[i]).toBeCloseTo(expected, 12);
      });
    }),
    { numRuns: 40, seed: 20261131 },
  );
});

test("null is not counted", async () => {
  expect(await holm([0.1, null, 0.02])).toEqual([0.1, null, 0.04]);
  expect(await holm([null])).toEqual([null]);
  expect(await holm([])).toEqual([]);
});

test("bad input", async () => {
  for (const values of [null, [1.5], [-0.1], [Number.NaN], [[0.1, 0.2]], Array.from({ length: 10001 }, () => 0.5)]) {
    expect(await database.rejects("select experiment.holm($1::float8[])", [values])).toMatchObject({ code: "CF001" });
  }
});
