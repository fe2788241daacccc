import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import type { Json } from "./gbstats.ts";

const database = await testDatabase();

const power = (baseline: Json, effect: number, users: number[], options: Json = {}): Promise<number> =>
  database.value<number>("select experiment.power($1, $2, $3, $4)", [
    JSON.stringify(baseline),
    effect,
    users,
    JSON.stringify(options),
  ]);

const unit = { type: "mean", mean: 0, variance: 1 };

// scipy.stats.nct with Satterthwaite's degrees of freedom; the first is R's power.t.test(20, 1, strict = TRUE)
test.each<[number, number, number, string, number]>([
  [20, 20, 1, "both", 0.86895302772399],
  [20, 20, 0.5, "greater", 0.4633743492964088],
  [20, 20, -0.5, "less", 0.4633743492964088],
  [2, 2, 1, "both", 0.09520175549788396],
  [5, 12, 1.2, "both", 0.5024690295275049],
  [300, 100, 0.3, "both", 0.7334882151022688],
  [100000, 90000, 0.012, "both", 0.7427170488269852],
  [3, 3, 4, "greater", 0.9888114496179],
])(
  "%d and %d users find %d standard deviations (%s) with the power %d of the t test",
  async (a, b, d, side, expected) => {
    expect(await power(unit, d, [a, b], { difference: "absolute", side })).toBeCloseTo(expected, 9);
  },
);

// packages/shared/test/power.test.ts of growthbook/growthbook at 8f1db44
describe("the published numbers of GrowthBook", () => {
  test("by the normal distribution, for many users", async () => {
    const mean = { type: "mean", mean: 10, variance: 3909.9997749994377 };
    expect((await power(mean, 0.05, [400000 / 3, 400000 / 3])).toFixed(5)).toBe("0.52144");
  });

  test("for few, where the t distribution differs in the fourth decimal", async () => {
    const revenue = { type: "mean", mean: 0.1, variance: 0.5 };
    const expected = [0.17053, 0.29389, 0.41122, 0.51749, 0.61037, 0.68938, 0.75513, 0.80886, 0.85213];
    for (const [i, value] of expected.entries()) {
      const users = 1500 * (i + 1);
      expect(Math.abs((await power(revenue, 0.3, [users, users])) - value)).toBeLessThan(3e-4);
    }
  });

  test("the power of a sequential test is that of its last interval", async () => {
    // GrowthBook divides the effect by the width of the interval instead of its standard error, and reports 0.20596.
    const mean = { type: "mean", mean: 10, variance: 3909.9997749994377 };
    const users = 400000 / 3;
    const rho = (-2 * Math.log(0.05) + Math.log(1 - 2 * Math.log(0.05))) / 5000;
    const mixture = 2 * users * rho;
    const width = Math.sqrt(((2 * (mixture + 1)) / mixture) * Math.log(Math.sqrt(mixture + 1) / 0.05));
    const z = 0.05 / Math.sqrt((3909.9997749994377 / users / 100) * (1 + 1.05 ** 2));
    const expected = await database.value<number>("select ml.normal_cdf($1) + ml.normal_cdf($2)", [
      z - width,
      -z - width,
    ]);
    expect(await power(mean, 0.05, [users, users], { test: "sequential" })).toBeCloseTo(expected, 12);
  });
});

test("proportions have the variance of their arm, as in the test", async () => {
  // unpooled normal approximation: Chow, Shao and Wang, Sample Size Calculations in Clinical Research, 4.2
  const z = (0.012 * Math.sqrt(20000)) / Math.sqrt(0.1 * 0.9 + 0.112 * 0.888);
  const expected = await database.value<number>("select ml.normal_cdf($1 - ml.normal_quantile(0.975))", [z]);
  expect(await power({ type: "proportion", mean: 0.1 }, 0.012, [20000, 20000], { difference: "absolute" })).toBeCloseTo(
    expected,
    4,
  );
});

test("a treatment without any success differs for certain", async () => {
  expect(await power({ type: "proportion", mean: 0.5 }, -1, [10, 10])).toBe(1);
});

describe("the time before the exposure", () => {
  test("takes off the variance that it explains", async () => {
    const adjusted = await power({ ...unit, correlation: 0.6 }, 0.1, [900, 700], { difference: "absolute" });
    const reduced = await power({ ...unit, variance: 1 - 0.36 }, 0.1, [900, 700], { difference: "absolute" });
    expect(adjusted).toBeCloseTo(reduced, 12);
    expect(adjusted).toBeGreaterThan(await power(unit, 0.1, [900, 700], { difference: "absolute" }));
  });

  test("is taken from the statistics of the past", async () => {
    // 100 users with the values 0 … 9 before, and the same plus 0 or 1 after
    const before = Array.from({ length: 100 }, (_, i) => i % 10);
    const after = before.map((value, i) => value + (Math.floor(i / 10) % 2));
    const sum = (x: number[]): number => x.reduce((a, b) => a + b, 0);
    const dot = (x: number[], y: number[]): number => sum(x.map((value, i) => value * (y[i] ?? 0)));
    const spread = (x: number[], y: number[]): number => dot(x, y) - (sum(x) * sum(y)) / 100;
    const statistic = {
      type: "mean",
      n: 100,
      sum: sum(after),
      sum_squares: dot(after, after),
      before: { sum: sum(before), sum_squares: dot(before, before) },
      sum_products_before: dot(after, before),
    };
    const summary = {
      type: "mean",
      mean: sum(after) / 100,
      variance: spread(after, after) / 99,
      correlation: spread(after, before) / Math.sqrt(spread(after, after) * spread(before, before)),
    };
    expect(await power(statistic, 0.02, [400, 400])).toBeCloseTo(await power(summary, 0.02, [400, 400]), 9);
  });
});

test.each<[unknown, unknown, unknown, unknown, string]>([
  [null, 0.1, [10, 10], {}, "baseline is null"],
  [{ type: "quantile", n: 1 }, 0.1, [10, 10], {}, "n_star of baseline is missing"],
  [{ mean: 1 }, 0.1, [10, 10], {}, "variance of baseline is missing"],
  [{ mean: 1, variance: 0 }, 0.1, [10, 10], {}, "the variance of baseline is 0"],
  [{ mean: 0, variance: 1 }, 0.1, [10, 10], {}, "the mean of baseline is 0"],
  [{ mean: 1, variance: 1, correlation: 1 }, 0.1, [10, 10], {}, "correlation of baseline is 1"],
  [{ type: "proportion", mean: 0.5 }, 2, [10, 10], {}, "effect 2 makes the proportion 1.5"],
  [{ mean: 1, variance: 1 }, 0, [10, 10], {}, "effect is 0"],
  [{ mean: 1, variance: 1 }, null, [10, 10], {}, "effect is null"],
  [{ mean: 1, variance: 1 }, -0.1, [10, 10], { side: "greater" }, "effect is -0.1, and side greater"],
  [{ mean: 1, variance: 1 }, 0.1, [10], {}, "users is {10}"],
  [{ mean: 1, variance: 1 }, 0.1, [10, 1], {}, "users is {10,1}"],
  [{ mean: 1, variance: 1 }, 0.1, [10, null], {}, "users is {10,NULL}"],
  [{ mean: 1, variance: 1 }, 0.1, [10, 10], { alpha: 0.5 }, "alpha is 0.5"],
  [{ mean: 1, variance: 1 }, 0.1, [10, 10], { power: 0.01 }, "power is 0.01"],
  [{ mean: 1, variance: 1 }, 0.1, [10, 10], { test: "bayesian" }, 'test is "bayesian"'],
])("bad input: %j %j %j %j", async (baseline, effect, users, options, message) => {
  const error = await database.rejects("select experiment.power($1, $2, $3, $4)", [
    JSON.stringify(baseline),
    effect,
    users,
    JSON.stringify(options),
  ]);
  expect(error.code).toMatch(/^CF00[147]$/);
  expect(error.message).toContain(message);
});
