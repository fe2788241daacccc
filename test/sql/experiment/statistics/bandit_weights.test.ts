import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import type { Json } from "./gbstats.ts";

const database = await testDatabase();

const weights = (arms: Json[], options: Json = {}): Promise<number[]> =>
  database.value<number[]>("select experiment.bandit_weights($1, $2)", [JSON.stringify(arms), JSON.stringify(options)]);
const mean = (n: number, sum: number, sum_squares: number): Json => ({ type: "mean", n, sum, sum_squares });
const proportion = (n: number, sum: number): Json => ({ type: "proportion", n, sum });
const total = (values: number[]): number => values.reduce((sum, value) => sum + value, 0);

// TestBanditMinVariationWeightFloor of packages/stats/tests/test_gbstats.py, growthbook/growthbook at 8f1db44
const four = [mean(1000, 10, 2000), mean(1000, 20, 2000), mean(1000, 30, 2000), mean(1000, 300, 20000)];
const three = [mean(900, 450, 1200), mean(1100, 600, 1500), mean(1000, 560, 1450)];

describe("gbstats, whose weights are shares of 10,000 random draws", () => {
  // computed by running gbstats with the seed of its tests, 100
  test.each<[Json[], Json, number[]]>([
    [four, { method: "top_two", minimum_weight: 0 }, [0.12785, 0.1696, 0.216, 0.48655]],
    [four, { minimum_weight: 0 }, [0.0113, 0.0156, 0.0195, 0.9536]],
    [four, { minimum_weight: 0, inverse: true }, [0.4181, 0.3239, 0.2439, 0.0141]],
    [three, { minimum_weight: 0 }, [0.0533, 0.3522, 0.5945]],
    [three, { method: "top_two", minimum_weight: 0 }, [0.1133, 0.42865, 0.45805]],
    [three, { minimum_weight: 0.1 }, [0.13731, 0.34654, 0.51615]],
    [three, { minimum_weight: 0, prior: { mean: 0.5, variance: 0.0005, proper: true } }, [0.1307, 0.3934, 0.4759]],
  ])("%j %j", async (arms, options, expected) => {
    const actual = await weights(arms, options);
    // four standard errors of a share of 10,000
    actual.forEach((weight, i) => {
      expect(Math.abs(weight - (expected[i] ?? Number.NaN))).toBeLessThan(0.02);
    });
    expect(total(actual)).toBeCloseTo(1, 12);
  });

  test("the minimum weight is added, and too large a one makes all weights equal", async () => {
    const free = await weights(four, { minimum_weight: 0, method: "top_two" });
    const floored = await weights(four, { minimum_weight: 0.1, method: "top_two" });
    floored.forEach((weight, i) => {
      expect(weight).toBeCloseTo(0.1 + 0.6 * (free[i] ?? 0), 12);
    });
    expect(await weights(four, { minimum_weight: 0.5 })).toEqual([0.25, 0.25, 0.25, 0.25]);
    expect(await weights(four)).toEqual(await weights(four, { minimum_weight: 0.01 }));
  });

  test("fewer than 100 users of an arm give no weights", async () => {
    expect(await weights([proportion(99, 3), proportion(1000, 30)])).toBeNull();
    expect(await weights([proportion(100, 3), proportion(1000, 30)])).not.toBeNull();
    expect(await weights([proportion(20, 3), proportion(1000, 30)], { minimum_users: 20 })).not.toBeNull();
  });

  test("outcomes that do not differ give no weights without a prior", async () => {
    const arms = [proportion(1000, 0), proportion(1000, 30)];
    expect(await weights(arms)).toBeNull();
    expect(await weights(arms, { prior: { mean: 0.03, variance: 0.01, proper: true } })).not.toBeNull();
    expect((await weights(arms, { posterior: "beta" }))[1]).toBeGreaterThan(0.98);
  });

  test("less is better for the top two as well; gbstats counts the second and third smallest", async () => {
    const actual = await weights(three, { method: "top_two", inverse: true, minimum_weight: 0 });
    const mirrored = await weights(
      three.map((arm) => ({ ...arm, sum: -(arm["sum"] as number) })),
      { method: "top_two", minimum_weight: 0 },
    );
    expect(actual).toEqual(mirrored);
    expect(actual[0]).toBeGreaterThan(actual[1] ?? 1);
    // two arms, which have no third
    for (const weight of await weights(three.slice(0, 2), { method: "top_two", inverse: true })) {
      expect(weight).toBeCloseTo(0.5, 12);
    }
  });
});

describe("exact values", () => {
  test("two normal arms: the normal distribution of the difference", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 100, max: 100000 }),
        fc.integer({ min: 100, max: 100000 }),
        fc.double({ min: 0.05, max: 0.6, noNaN: true }),
        fc.double({ min: 0.8, max: 1.25, noNaN: true }),
        async (n, m, p, factor) => {
          const arms = [proportion(n, Math.round(n * p)), proportion(m, Math.round(m * p * factor))];
          const [a, b] = arms.map((arm) => {
            const value = (arm["sum"] as number) / (arm["n"] as number);
            return { value, error: (value * (1 - value)) / (arm["n"] as number) };
          }) as [{ value: number; error: number }, { value: number; error: number }];
          const [first, second] = await weights(arms, { minimum_weight: 0 });
          const expected = await database.value<number>("select ml.normal_cdf($1)", [
            (a.value - b.value) / Math.sqrt(a.error + b.error),
          ]);
          expect(first).toBeCloseTo(expected, 7);
          expect(second).toBeCloseTo(1 - expected, 7);
        },
      ),
      { numRuns: 25, seed: 20261161 },
    );
  });

  const best = (a: number[], b: number[], isBeta: boolean): Promise<number[]> =>
    database.value<number[]>("select experiment._best_arms($1, $2, $3)", [a, b, isBeta]);

  // scipy.integrate.quad over the densities and distribution functions of scipy.stats, to 1e-13
  test.each<[number[], number[], boolean, number[]]>([
    [
      [0, 0.1, 0.2],
      [0.1, 0.1, 0.1],
      false,
      [0.047150679919, 0.22409830478, 0.7287510153, 0.22409830478, 0.551803390439, 0.22409830478],
    ],
    [
      [0, 0.5, 1],
      [0.05, 0.5, 1.5],
      false,
      [0.040639981119, 0.343340119446, 0.616019899435, 0.331189893867, 0.529375489725, 0.139434616407],
    ],
    [[1, 2], [1, 1], true, [1 / 3, 2 / 3, 2 / 3, 1 / 3]],
    [
      [10.5, 20.5, 30],
      [90.5, 80.5, 80],
      true,
      [3.228557379038e-4, 0.1147953151429, 0.8848818291192, 0.02319775085179, 0.8621142151378, 0.1146880340104],
    ],
    [
      [0.5, 0.5, 3],
      [0.5, 0.5, 1],
      true,
      [0.251942228966, 0.251942228966, 0.496115542009, 0.308615542009, 0.308615542009, 0.382768915982],
    ],
  ])("%j %j (Beta: %s)", async (a, b, isBeta, expected) => {
    const actual = await best(a, b, isBeta);
    actual.forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i] ?? Number.NaN, 7);
    });
  });

  test("a trillion users, whose Beta distributions are normal ones", async () => {
    const [, second] = await best([1e14, 1e14 + 1e7], [9e14, 9e14 - 1e7], true);
    const expected = await database.value<number>("select ml.normal_cdf($1)", [
      1e-8 / Math.sqrt((2 * 0.1 * 0.9) / 1e15),
    ]);
    expect(second).toBeCloseTo(expected, 6);
  });

  test("very different spreads, far arms and many arms", async () => {
    // the narrow arms are steps in the integral of the wide one
    for (const narrow of [1e-9, 1e-30]) {
      const [first, other] = await best([0, 1, 1 + 1e-12], [2, narrow, narrow], false);
      expect(first).toBeCloseTo(await database.value<number>("select ml.normal_cdf(-0.5)"), 6);
      expect(other).toBeLessThan(0.7);
    }
    const wide = await best([0, 100, 900], [100000, 1, 1], false);
    expect(wide[0]).toBeCloseTo(await database.value<number>("select 1 - ml.normal_cdf(900, 0, 100000)"), 7);
    expect(wide[1]).toBeLessThan(1e-12);
    const far = await best([0, 1e6], [1, 1], false);
    [0, 1, 1, 0].forEach((value, i) => {
      expect(far[i]).toBeCloseTo(value, 12);
    });
    const equal = await best(Array(50).fill(3), Array(50).fill(0.1), false);
    for (const value of equal) expect(value).toBeCloseTo(0.02, 9);
  });
});

describe("the Beta distribution", () => {
  test("gives nearly the weights of the normal one for many users", async () => {
    const arms = [proportion(10000, 1000), proportion(10000, 1040), proportion(10000, 1080)];
    const normal = await weights(arms, { minimum_weight: 0 });
    const beta = await weights(arms, { minimum_weight: 0, posterior: "beta" });
    beta.forEach((weight, i) => {
      expect(weight).toBeCloseTo(normal[i] ?? Number.NaN, 2);
    });
  });

  test("needs no successes, and uses its prior", async () => {
    const arms = [proportion(100, 0), proportion(100, 0)];
    for (const weight of await weights(arms, { posterior: "beta", minimum_weight: 0 })) {
      expect(weight).toBeCloseTo(0.5, 12);
    }
    // X of Beta(1, 101) is above y with the probability (1 - y)^101, and Y of Beta(2, 100) has the density 10100 y (1 - y)^99
    const [first] = await weights([proportion(100, 0), proportion(100, 1)], { posterior: "beta", minimum_weight: 0 });
    const exact = 10100 / (201 * 202);
    expect(first).toBeCloseTo(exact, 7);
    const strong = await weights(arms, { posterior: "beta", prior: { alpha: 50, beta: 50 }, minimum_weight: 0 });
    expect(strong[0]).toBeCloseTo(0.5, 9);
    const inverse = await weights([proportion(100, 0), proportion(100, 1)], {
      posterior: "beta",
      inverse: true,
      minimum_weight: 0,
    });
    expect(inverse[0]).toBeCloseTo(1 - exact, 7);
  });
});

test("a prior that outweighs the data, and arms without variance under it", async () => {
  const arms = [proportion(1000, 500), proportion(1000, 1000), proportion(1000, 0)];
  const prior = { mean: 100, variance: 1e-60, proper: true };
  const actual = await weights(arms, { prior, minimum_weight: 0 });
  for (const weight of actual) expect(weight).toBeCloseTo(1 / 3, 6);
});

test("the same arms give the same weights, in any order", async () => {
  const one = await weights(four);
  expect(await weights(four)).toEqual(one);
  const reversed = await weights([...four].reverse());
  reversed.reverse().forEach((weight, i) => {
    expect(weight).toBeCloseTo(one[i] ?? Number.NaN, 12);
  });
});

test("the time before the exposure is taken off", async () => {
  const adjusted = (shift: number): Json => ({
    type: "mean",
    n: 1000,
    sum: 10000 + shift,
    sum_squares: 104000 + 20 * shift,
    before: { sum: 10000, sum_squares: 104000 },
    sum_products_before: 103900 + 10 * shift,
  });
  const arms = [adjusted(0), adjusted(20)];
  const plain = arms.map(({ before: _before, sum_products_before: _products, ...arm }) => arm);
  const [, with_before] = await weights(arms, { minimum_weight: 0 });
  const [, without] = await weights(plain, { minimum_weight: 0 });
  expect(with_before).toBeGreaterThan((without ?? 1) + 0.1);
});

test.each<[unknown, unknown, string]>([
  [null, {}, "arms is null"],
  [[proportion(100, 3)], {}, "arms is [{"],
  [[proportion(100, 3), mean(100, 3, 9)], {}, "arm 2 is a mean, and arm 1 a proportion"],
  [[proportion(100, 3), proportion(100, 300)], {}, "sum of arm 2 is 300, and n 100"],
  [four, { minimum_weight: -0.3 }, "minimum_weight is -0.3"],
  [four, { minimum_users: -1 }, "minimum_users is -1"],
  [four, { method: "ucb" }, 'method is "ucb"'],
  [four, { posterior: "beta" }, "posterior is beta, and the type mean"],
  [four, { prior: { variance: 0, proper: true } }, "variance of prior is 0"],
  [four, { prior: { alpha: 1 } }, 'prior has the field "alpha"'],
  [[proportion(100, 1), proportion(100, 3)], { posterior: "beta", prior: { alpha: 0 } }, "alpha of prior is 0"],
  [four, { floor: 0.1 }, 'options has the field "floor"'],
])("bad input: %j %j", async (arms, options, message) => {
  const error = await database.rejects("select experiment.bandit_weights($1, $2)", [
    JSON.stringify(arms),
    JSON.stringify(options),
  ]);
  expect(error.code).toMatch(/^CF00[17]$/);
  expect(error.message).toContain(message);
});

test("each role that may call the functions of the statistics may call what they call", async () => {
  const calls = [
    `experiment.bandit_weights('${JSON.stringify(four)}')`,
    `experiment.moments('${JSON.stringify(three[0])}')`,
    "experiment.srm('{10, 20}', '{1, 1}')",
    "experiment.holm('{0.1}')",
    "experiment.benjamini_hochberg('{0.1}')",
    `experiment.power('{"mean": 1, "variance": 1}', 0.1, '{50, 50}')`,
    `experiment.minimum_detectable_effect('{"type": "proportion", "mean": 0.1}', '{500, 500}', '{"test": "sequential"}')`,
    `experiment.sample_size('{"type": "ratio", "mean": 1, "variance": 1}', 0.1)`,
    `experiment.midexperiment_power('${JSON.stringify(three[0])}', '${JSON.stringify(three[1])}')`,
    `experiment.compare_strata('${JSON.stringify([three.slice(0, 2), three.slice(1)])}')`,
  ];
  for (const role of ["insights_analyst", "insights_admin", "insights_worker"]) {
    await database.as(role, {}, async (db) => {
      for (const call of calls) expect(await db.value(`select ${call} is not null`), call).toBe(true);
    });
  }
});
