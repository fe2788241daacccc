import fc from "fast-check";
import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import type { Json } from "./gbstats.ts";

const database = await testDatabase();

interface Moments {
  mean: number;
  variance: number;
  unadjusted_mean: number;
}

const moments = (statistic: Json): Promise<Moments> =>
  database.value<Moments>("select experiment.moments($1)", [JSON.stringify(statistic)]);

const one = [0.3, 0.5, 0.9, 22];
const three = [2, 1, 5, 3];
const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);
const dot = (x: number[], y: number[]): number => sum(x.map((value, i) => value * (y[i] ?? 0)));
const sums = (x: number[]): { sum: number; sum_squares: number } => ({ sum: sum(x), sum_squares: dot(x, x) });
const covariance = (x: number[], y: number[]): number => (dot(x, y) - (sum(x) * sum(y)) / x.length) / (x.length - 1);

// packages/stats/tests/test_shared_models.py of growthbook/growthbook at 8f1db44
test("the statistics of gbstats' tests", async () => {
  const mean = { type: "mean", n: 4, ...sums(one) };
  expect(await moments(mean)).toMatchObject({ mean: 5.925, unadjusted_mean: 5.925 });
  expect((await moments(mean)).variance).toBeCloseTo(covariance(one, one), 10);
  expect(await moments({ ...mean, n: 1 })).toMatchObject({ variance: 0 });
  expect(await moments({ type: "proportion", n: 4, sum: 3 })).toEqual({
    mean: 0.75,
    variance: 0.1875,
    unadjusted_mean: 0.75,
  });
  const withoutDenominator = {
    type: "ratio",
    n: 4,
    numerator: sums(one),
    denominator: { sum: 0, sum_squares: dot(three, three) },
    sum_products: dot(one, three),
  };
  expect(await moments(withoutDenominator)).toEqual({ mean: 0, variance: 0, unadjusted_mean: 0 });
  const adjusted = {
    type: "mean",
    n: 4,
    ...sums(three),
    before: sums(one),
    sum_products_before: dot(one, three),
  };
  expect(await moments({ ...adjusted, theta: 0 })).toMatchObject({ mean: 2.75, unadjusted_mean: 2.75 });
  const { mean: value, variance, unadjusted_mean } = await moments({ ...adjusted, theta: 0.23 });
  expect(unadjusted_mean).toBe(2.75);
  expect(value).toBeCloseTo(2.75 - 0.23 * 5.925, 12);
  expect(variance).toBeCloseTo(
    covariance(three, three) + 0.23 ** 2 * covariance(one, one) - 0.46 * covariance(one, three),
    9,
  );
  expect(await moments({ ...adjusted, n: 1, theta: 0.3 })).toMatchObject({ variance: 0 });
});

test("no users, and the moments of a quantile", async () => {
  expect(await moments({ type: "proportion", n: 0, sum: 0 })).toEqual({ mean: 0, variance: 0, unadjusted_mean: 0 });
  const quantile = { type: "quantile", n: 400, n_star: 400, nu: 0.5, quantile_hat: 7, quantile_lower: 6 };
  const { mean, variance } = await moments({ ...quantile, quantile_upper: 8 });
  expect(mean).toBe(7);
  expect(variance).toBeCloseTo(399 / 1.959963984540054 ** 2, 9);
  // users of one event each: clusters change the variance by the factor n / (n - 1), and the share below to the level
  const clustered = {
    ...quantile,
    quantile_upper: 8,
    n_clusters: 400,
    main_sum: 200,
    main_sum_squares: 200,
    denominator_sum: 400,
    denominator_sum_squares: 400,
    main_denominator_sum_product: 200,
  };
  expect((await moments(clustered)).variance).toBeCloseTo((variance * 400) / 399, 9);
});

test("the variance of a ratio is that of the residuals numerator - mean * denominator", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: -1000, max: 1000 }), fc.integer({ min: 1, max: 1000 })), {
        minLength: 3,
        maxLength: 30,
      }),
      async (users) => {
        const m = users.map(([value]) => value);
        const d = users.map(([, value]) => value);
        const answer = await moments({
          type: "ratio",
          n: users.length,
          numerator: sums(m),
          denominator: sums(d),
          sum_products: dot(m, d),
        });
        const ratio = sum(m) / sum(d);
        const residuals = users.map(([x, y]) => x - ratio * y);
        const expected = dot(residuals, residuals) / (users.length - 1) / (sum(d) / users.length) ** 2;
        expect(answer.mean).toBeCloseTo(ratio, 12);
        expect(Math.abs(answer.variance - expected)).toBeLessThanOrEqual(1e-9 * Math.max(expected, 1e-9));
      },
    ),
    { numRuns: 60, seed: 20261121 },
  );
});

test("a ratio that hardly varies keeps the digits of its variance", async () => {
  // 1000 users with 1,000,000 of both, except one with one more in the numerator
  const statistic = `{"type": "ratio", "n": 1000, "numerator": {"sum": 1000000001, "sum_squares": 1000000002000001},
    "denominator": {"sum": 1000000000, "sum_squares": 1000000000000000}, "sum_products": 1000000001000000}`;
  const { variance } = await database.value<Moments>("select experiment.moments($1)", [statistic]);
  expect(variance / 1e-15).toBeCloseTo(1, 9);
});

test("bad input", async () => {
  for (const value of [null, [], "x", { type: "mean" }, { type: "mean", n: 4, sum: 9, sum_squares: 1 }]) {
    expect(await database.rejects("select experiment.moments($1)", [JSON.stringify(value)])).toMatchObject({
      code: "CF001",
    });
  }
});
