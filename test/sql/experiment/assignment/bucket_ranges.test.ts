import fc from "fast-check";
import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { published } from "../../../support/growthbook.ts";
import { runs } from "../../../support/runs.ts";

const database = await testDatabase();

const ranges = (variations: number | null, coverage?: number | null, weights?: number[] | null): Promise<number[]> =>
  database.value("select experiment.bucket_ranges($1, $2, $3)", [variations, coverage ?? null, weights ?? null]);

/** GrowthBook compares the first eight decimals. */
const rounded = (numbers: number[]): number[] => numbers.map((number) => Math.floor(number * 1e8) / 1e8);

test("gives GrowthBook's published ranges, and equal weights", async () => {
  const cases = published<[[number, number, number[] | null], number[][]]>("getBucketRange");
  expect(cases).toHaveLength(13);
  for (const { place, values } of cases) {
    const [[variations, coverage, weights], expected] = values;
    expect(rounded(await ranges(variations, coverage, weights)), place).toEqual(rounded(expected.flat()));
  }
  const equal = published<[number, number[]]>("getEqualWeights");
  expect(equal).toHaveLength(6);
  for (const { place, values } of equal) {
    const [variations, weights] = values;
    const found = await ranges(variations);
    expect(rounded(weights.map((_, i) => (found[2 * i + 1] ?? 0) - (found[2 * i] ?? 0))), place).toEqual(
      rounded(weights),
    );
    expect(found, place).toHaveLength(2 * weights.length);
  }
});

test("adds up in the order of the weights, bit for bit", async () => {
  for (const [coverage, weights] of [
    [1, [0.1, 0.2, 0.3, 0.4]],
    [0.7, [0.3334, 0.3333, 0.3333]],
    [1 / 3, [1 / 7, 2 / 7, 4 / 7]],
    [1e-9, [0.999, 0.001]],
  ] as const) {
    let start = 0;
    const expected: number[] = [];
    for (const weight of weights) {
      expected.push(start, start + coverage * weight);
      start += weight;
    }
    expect(await ranges(weights.length, coverage, [...weights])).toEqual(expected);
  }
});

test("takes wrong weights for equal ones, and coverage between 0 and 1", async () => {
  for (const weights of [[0.5], [0.4, 0.4], [2, 2], [1e308, 1e308], [Number.POSITIVE_INFINITY, 0], []]) {
    expect(await ranges(2, 1, weights), `${weights}`).toEqual([0, 0.5, 0.5, 1]);
  }
  expect(await ranges(2, -5)).toEqual([0, 0, 0.5, 0.5]);
  expect(await ranges(2, Number.POSITIVE_INFINITY)).toEqual([0, 0.5, 0.5, 1]);
  expect(await ranges(2, Number.NaN)).toEqual([0, Number.NaN, 0.5, Number.NaN]);
  expect(await ranges(2, 1e-300, [1e-300, 1])).toEqual([0, 0, 1e-300, 2e-300]);
  expect(await ranges(0)).toEqual([]);
  expect(await ranges(-3)).toEqual([]);
  expect(await ranges(null)).toBeNull();
});

test("refuses more than 10000 variations", async () => {
  expect(await ranges(10_000)).toHaveLength(20_000);
  const error = await database.rejects("select experiment.bucket_ranges(2000000000, 1, null)");
  expect(error.code).toBe("CF008");
  expect(error.message).toBe("2000000000 variations");
});

/** The computation of GrowthBook's client, in JavaScript's numbers. */
function clientRanges(coverage: number, given: (number | null)[]): number[] {
  const share = Math.max(0, Math.min(coverage, 1));
  const total = given.reduce((sum: number, weight) => sum + Number(weight), 0);
  const isWrong = total < 0.99 || total > 1.01;
  let start = 0;
  return given.flatMap((weight) => {
    const size = isWrong ? 1 / given.length : Number(weight);
    const range = [start, start + share * size];
    start += size;
    return range;
  });
}

test("NaN, infinite, huge, tiny and null weights and coverage give the numbers of the client", async () => {
  const odd = fc.constantFrom(
    null,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    1e308,
    -1e308,
    Number.MAX_VALUE,
    -Number.MAX_VALUE,
    5e-324,
    1e-200,
    0,
    0.5,
    1,
  );
  const weight = fc.oneof(odd, fc.double({ min: -1, max: 2, noNaN: true }));
  let unusual = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 1e-200, 5e-324, 0.5, 1),
        fc.double({ min: -1, max: 2, noNaN: true }),
      ),
      fc.array(weight, { minLength: 1, maxLength: 5 }),
      async (coverage, weights) => {
        const expected = clientRanges(coverage, weights);
        const found = await database.value<number[]>("select experiment.bucket_ranges($1, $2::float8, $3::float8[])", [
          weights.length,
          coverage,
          weights,
        ]);
        if (!expected.every(Number.isFinite)) unusual += 1;
        // Zeros have no sign here.
        expect(found.map((number) => number + 0)).toEqual(expected.map((number) => number + 0));
      },
    ),
    { numRuns: runs(2000, 500, database.native) },
  );
  expect(unusual).toBeGreaterThan(100);
});
