import fc from "fast-check";
import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";

const database = await testDatabase();

const adjust = (values: (number | null)[]): Promise<number[]> =>
  database.value<number[]>("select experiment.benjamini_hochberg($1)", [values]);

// packages/shared/test/experiments.test.ts of growthbook/growthbook at 8f1db44
test("GrowthBook's adjusted p-values, in the order of the given ones", async () => {
  const adjusted = await adjust([0.898, 0.138, 0.007, 0.964, 0.538, 0.006, 0.138]);
  expect(adjusted.map((p) => Number(p.toFixed(8)))).toEqual([0.964, 0.2415, 0.0245, 0.964, 0.7532, 0.0245, 0.2415]);
});

test("by the definition: the smallest of p times the number, divided by its rank, from there on", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 20 }), async (values) => {
      const adjusted = await adjust(values);
      const sorted = [...values].sort((a, b) => a - b);
      values.forEach((value, i) => {
        const expected = Math.min(
          1,
          ...sorted.flatMap((p, rank) => (p >= value ? [(p * values.length) / (rank + 1)] : [])),
        );
        expect(adjusted[i]).toBeCloseTo(expected, 12);
      });
    }),
    { numRuns: 40, seed: 20261132 },
  );
});

test("null is not counted", async () => {
  expect(await adjust([0.1, null, 0.02])).toEqual([0.1, null, 0.04]);
  expect(await adjust([])).toEqual([]);
});

test("bad input", async () => {
  for (const values of [null, [1.5], [-0.1], [Number.NaN], [[0.1, 0.2]]]) {
    expect(await database.rejects("select experiment.benjamini_hochberg($1::float8[])", [values])).toMatchObject({
      code: "CF001",
    });
  }
});
