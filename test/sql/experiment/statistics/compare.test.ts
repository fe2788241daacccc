import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { type Answer, compare, differences, golden, type Json } from "./gbstats.ts";

const database = await testDatabase();

const mean = (n: number, sum: number, sum_squares: number): Json => ({ type: "mean", n, sum, sum_squares });
const proportion = (n: number, sum: number): Json => ({ type: "proportion", n, sum });

/** The published numbers have five decimals unless stated. */
async function expectAnswer(
  [control, treatment, options = {}]: [Json, Json, Json?],
  expected: Partial<Record<keyof Answer, number | null | [number, number]>>,
  digits = 5,
): Promise<void> {
  const answer = await compare(database, control, treatment, options);
  for (const [name, value] of Object.entries(expected)) {
    const got = answer[name as keyof Answer];
    if (value === null) expect(got, name).toBeNull();
    else if (Array.isArray(value)) {
      value.forEach((part, i) => {
        expect((got as number[])[i], `${name} ${i}`).toBeCloseTo(part, digits);
      });
    } else expect(Number((got as number).toFixed(digits)), name).toBe(value);
  }
}

// gbstats 0.8.0, packages/stats/tests (growthbook/growthbook at 8f1db44).
describe("the published numbers of gbstats", () => {
  const a = mean(3407, 1396.87, 52377.9767);
  const b = mean(3461, 2422.7, 134698.29);
  const a3000 = mean(3000, 1396.87, 52377.9767);

  test("TestTwoSidedTTest", async () => {
    await expectAnswer([a, b], { effect: 0.70732, low: -0.03526, high: 1.44989, stddev: 0.37879, p: 0.06191 });
    await expectAnswer([a, b, { difference: "absolute" }], {
      effect: 0.29,
      low: 0.04538,
      high: 0.53462,
      stddev: 0.12478,
      p: 0.02016,
    });
    await expectAnswer([proportion(28, 14), proportion(30, 16)], {
      effect: 0.06667,
      low: -0.47767,
      high: 0.61101,
      stddev: 0.2717,
      p: 0.80707,
    });
    expect(
      await database.rejects("select experiment.compare($1, $2)", [
        JSON.stringify(mean(2, 1396.87, 52377.9767)),
        JSON.stringify(b),
      ]),
    ).toMatchObject({ code: "CF001", message: expect.stringContaining("impossible") });
  });

  const ratio = (sums: number[], products: number[]): Json => ({
    type: "ratio",
    n: 100,
    numerator: { sum: sums[0], sum_squares: sums[1] },
    denominator: { sum: sums[2], sum_squares: sums[3] },
    numerator_before: { sum: sums[4], sum_squares: sums[5] },
    denominator_before: { sum: sums[6], sum_squares: sums[7] },
    products: {
      m_post_m_pre_sum_of_products: products[0],
      d_post_d_pre_sum_of_products: products[1],
      m_pre_d_pre_sum_of_products: products[2],
      m_post_d_post_sum_of_products: products[3],
      m_post_d_pre_sum_of_products: products[4],
      m_pre_d_post_sum_of_products: products[5],
    },
  });
  const ratioA = ratio(
    [
      485.112236689623, 2715.484666118136, 679.9093275844917, 4939.424001640236, 192.59138069991536, 460.076026390857,
      290.1398399750233, 920.9461385038898,
    ],
    [
      1113.6215759318352, 2130.9404074446747, 634.239482353647, 3602.146836776702, 1559.2878434944676,
      1460.3181079276983,
    ],
  );
  const ratioB = ratio(
    [
      514.7757826608777, 2994.897482705013, 705.4090874383759, 5291.36604146392, 206.94157227402536, 514.2903702246757,
      302.54389139107326, 994.4506208125663,
    ],
    [
      1237.0953021125997, 2292.081739775257, 698.4173425817908, 3918.1561431600717, 1701.0287270040265,
      1604.0759503266522,
    ],
  );

  test("ratios with the time before", async () => {
    await expectAnswer([ratioA, ratioB], { effect: -0.0007, low: -0.00841, high: 0.007, stddev: 0.00391, p: 0.85771 });
    await expectAnswer([ratioA, ratioB, { test: "sequential" }], {
      effect: -0.0007,
      low: -0.02063,
      high: 0.01923,
      p: 1,
    });
    // the short names of the products, and the sum of products of a ratio without the time before
    const short = (statistic: Json): Json => ({
      ...statistic,
      products: Object.fromEntries(
        Object.entries(statistic["products"] as Json).flatMap(([name, value]) =>
          name.startsWith("m_post_d_post") ? [] : [[name.replace("_sum_of_products", ""), value]],
        ),
      ),
      sum_products: (statistic["products"] as Json)["m_post_d_post_sum_of_products"],
    });
    expect(await compare(database, short(ratioA), short(ratioB))).toEqual(await compare(database, ratioA, ratioB));
  });

  test("TestSequentialTTest", async () => {
    await expectAnswer([a3000, b, { test: "sequential", tuning: 1000 }], {
      effect: 0.50336,
      low: -0.55844,
      high: 1.56516,
      stddev: 0.33341,
      p: 1,
    });
    await expectAnswer([proportion(3000, 1396), proportion(3461, 2422), { test: "sequential" }], {
      effect: 0.50386,
      low: 0.40098,
      high: 0.60675,
      stddev: 0.03386,
      p: 0,
    });
    await expectAnswer(
      [
        { ...a3000, before: { sum: 16.87, sum_squares: 527.9767 }, sum_products_before: 1 },
        { ...b, before: { sum: 22.7, sum_squares: 1348.29 }, sum_products_before: 1 },
        { test: "sequential" },
      ],
      { effect: 0.50338, low: -0.50969, high: 1.51646, stddev: 0.33341, p: 1 },
    );
    const width = async (tuning: number): Promise<number> => {
      const { low, high } = await compare(database, a3000, b, { test: "sequential", tuning });
      return (high ?? Number.NaN) - (low ?? Number.NaN);
    };
    const [below, near, above] = [await width(10), await width(6461), await width(10000)];
    expect(near).toBeLessThan(above);
    expect(above).toBeLessThan(below);
  });

  test("tests of one side", async () => {
    const relative = { effect: 0.50336, stddev: 0.33341 };
    const absolute = { effect: 0.23438, stddev: 0.12983 };
    await expectAnswer([a3000, b, { side: "greater" }], { ...relative, low: -0.04514, high: null, p: 0.06558 });
    await expectAnswer([a3000, b, { side: "less" }], { ...relative, low: null, high: 1.05186, p: 0.93442 });
    await expectAnswer([a3000, b, { side: "greater", difference: "absolute" }], {
      ...absolute,
      low: 0.02079,
      high: null,
      p: 0.03554,
    });
    await expectAnswer([a3000, b, { side: "less", difference: "absolute" }], {
      ...absolute,
      low: null,
      high: 0.44796,
      p: 0.96446,
    });
    const sequential = { test: "sequential" };
    await expectAnswer([a3000, b, { ...sequential, side: "greater" }], {
      ...relative,
      low: -0.42356,
      high: null,
      p: 0.4999,
    });
    await expectAnswer([a3000, b, { ...sequential, side: "less" }], {
      ...relative,
      low: null,
      high: 1.43029,
      p: 0.4999,
    });
    await expectAnswer([a3000, b, { ...sequential, side: "greater", difference: "absolute" }], {
      ...absolute,
      low: -0.12657,
      high: null,
      p: 0.46316,
    });
    await expectAnswer([a3000, b, { ...sequential, side: "less", difference: "absolute" }], {
      ...absolute,
      low: null,
      high: 0.59532,
      p: 0.4999,
    });
  });

  test("TestBinom and TestNorm of the Bayesian test", async () => {
    await expectAnswer([proportion(100, 49), proportion(100, 51), { test: "bayesian" }], {
      effect: 0.04082,
      low: -0.24779,
      high: 0.32943,
      stddev: 0.14725,
      chance_to_win: 0.60918,
      risk: [0.0814, 0.04058],
    });
    const arms: [Json, Json] = [mean(10, 100, 1002.25), mean(10, 105, 1111.5)];
    await expectAnswer([...arms, { test: "bayesian" }], {
      effect: 0.05,
      low: -0.02,
      high: 0.12,
      stddev: 0.03572,
      chance_to_win: 0.91923,
      risk: [0.05131, 0.00131],
    });
    await expectAnswer([...arms, { test: "bayesian", prior: { mean: 0.1, variance: 0.1, proper: true } }], {
      effect: 0.05063,
      low: -0.01893,
      high: 0.12019,
      stddev: 0.03549,
      chance_to_win: 0.92315,
      risk: [0.05186, 0.00123],
    });
    const empty = proportion(0, 0);
    expect(
      await database.rejects('select experiment.compare($1, $1, \'{"test": "bayesian"}\')', [JSON.stringify(empty)]),
    ).toMatchObject({ code: "CF004", message: "control has 0 users" });
  });

  const quantile = (n: number, hat: number, lower: number, upper: number): Json => ({
    type: "quantile",
    n,
    n_star: n,
    nu: 0.9,
    quantile_hat: hat,
    quantile_lower: lower,
    quantile_upper: upper,
  });

  test("TestEffectBayesianABTest: quantiles, to ten decimals", async () => {
    const arms: [Json, Json] = [
      quantile(11054, 7.157987489967789, 7.098780136176828, 7.217194843758751),
      quantile(10861, 7.694499927525767, 7.64180598628119, 7.747193868770344),
    ];
    const round = (values: [number, number, number]): Pick<Answer, "effect" | "low" | "high"> => ({
      effect: Number(values[0].toFixed(10)),
      low: Number(values[1].toFixed(10)),
      high: Number(values[2].toFixed(10)),
    });
    const cases: [Json, [number, number, number]][] = [
      [{ difference: "absolute" }, [0.5365124375579775, 0.4572559589115422, 0.6157689162044128]],
      [
        { difference: "absolute", prior: { variance: 1e6, proper: true } },
        [0.536512437540855, 0.4572559588956844, 0.6157689161860256],
      ],
      [
        { difference: "absolute", prior: { variance: 1, proper: true } },
        [0.536495315442269, 0.4572401014910488, 0.6157505293934892],
      ],
      [
        { difference: "relative", prior: { variance: 1e6, proper: true } },
        [0.07495297222736319, 0.06341005842481906, 0.08649588602990732],
      ],
      [
        { difference: "relative", prior: { variance: 1, proper: true } },
        [0.07495037261804469, 0.06340765898986044, 0.08649308624622894],
      ],
    ];
    for (const [options, expected] of cases) {
      await expectAnswer([...arms, { test: "bayesian", ...options }], round(expected), 10);
    }
  });

  test("TestQuantileStatisticZeroVariance", async () => {
    const wide = quantile(60_000_000, 5, 4.99, 5.01);
    for (const n of [60_000_000, 999]) {
      expect(
        await database.rejects("select experiment.compare($1, $2)", [
          JSON.stringify(quantile(n, 5, 5, 5)),
          JSON.stringify(wide),
        ]),
      ).toMatchObject({ code: "CF007", message: "the variance of control is 0" });
    }
    // too few events for the bounds of the quantile
    expect(
      await database.rejects("select experiment.compare($1, $2)", [
        JSON.stringify(quantile(34, 5, 4, 6)),
        JSON.stringify(wide),
      ]),
    ).toMatchObject({ code: "CF004", message: "n of control is 34, for the quantile 0.9" });
    expect((await compare(database, quantile(35, 5, 4, 6), wide)).stddev).toBeGreaterThan(0);
  });

  test("TestGetRiskNumericalStability", async () => {
    const risk = (mu: number, sigma: number, inverse = false): Promise<number[]> =>
      database.value("select experiment._risk($1, $2, $3)", [mu, sigma, inverse]);
    expect(await risk(0.01, 4.5e-9)).toEqual([0.01, 0]);
    expect(await risk(-0.01, 4.5e-9)).toEqual([0, 0.01]);
    const [control, treatment] = await risk(0.1, 0.05);
    expect(control).toBeCloseTo(0.1004245351308, 10);
    expect(treatment).toBeCloseTo(0.0004245351308414, 10);
    expect(await risk(0.1, 0.05, true)).toEqual([treatment, control]);
  });

  test("TestEffectMomentsNegativeBaseline and TestEffectMomentsCupedRatioNegativeBaseline", async () => {
    const spread = (m: number): Json => mean(1000, m * 1000, (m * m + 4) * 1000);
    await expectAnswer([spread(-10), spread(-5)], { effect: 0.5 });
    for (const [m, other] of [
      [-10, -15],
      [-2, 3],
      [10, 15],
      [10, 5],
    ] as const) {
      const { effect } = await compare(database, spread(m), spread(other));
      expect(Math.sign(effect)).toBe(Math.sign(other - m));
    }
    const dot = (x: number[], y: number[]): number => x.reduce((sum, value, i) => sum + value * (y[i] ?? 0), 0);
    const sums = (x: number[]): Json => ({ sum: x.reduce((s, v) => s + v, 0), sum_squares: dot(x, x) });
    const statistic = (m: number[], d: number[], mBefore: number[], dBefore: number[]): Json => ({
      type: "ratio",
      n: m.length,
      numerator: sums(m),
      denominator: sums(d),
      numerator_before: sums(mBefore),
      denominator_before: sums(dBefore),
      theta: 0.5,
      products: {
        m_post_m_pre: dot(m, mBefore),
        d_post_d_pre: dot(d, dBefore),
        m_pre_d_pre: dot(mBefore, dBefore),
        m_post_d_post: dot(m, d),
        m_post_d_pre: dot(m, dBefore),
        m_pre_d_post: dot(mBefore, d),
      },
    });
    for (const [treated, effect, stddev] of [
      [[17, 12, 23, 28, 12, 22, 29, 16], 0.103928, 0.0286196],
      [[14, 9, 17, 23, 9, 18, 22, 13], -0.1372068, 0.0223934],
    ] as const) {
      for (const sign of [1, -1]) {
        const signed = (values: readonly number[]): number[] => values.map((value) => sign * value);
        const answer = await compare(
          database,
          statistic(
            signed([12, 19, 16, 24, 21, 9, 14, 26]),
            [1, 2, 1.5, 2.5, 2, 1, 1.5, 2.5],
            signed([16, 11, 21, 19, 26, 11, 9, 21]),
            [1.5, 1, 2, 2, 2.5, 1, 1, 2],
          ),
          statistic(
            signed(treated),
            [1.5, 1, 2, 2.5, 1, 2, 2.5, 1.5],
            signed([11, 17, 22, 27, 10, 27, 21, 16]),
            [1, 1.5, 2, 2.5, 1, 2.5, 2, 1.5],
          ),
        );
        expect(answer.effect).toBeCloseTo(sign * effect, 6);
        expect(answer.stddev).toBeCloseTo(stddev, 7);
      }
    }
  });
});

// products/experiments/stats/tests (PostHog/posthog at 03f2add), with four decimals.
test("the published numbers of PostHog", async () => {
  const arms: [Json, Json] = [mean(2507, 1196.87, 37377.9767), mean(2461, 1922.7, 94698.29)];
  const near = async (
    [control, treatment, options]: [Json, Json, Json?],
    expected: Record<string, number>,
  ): Promise<void> => {
    const answer = (await compare(database, control, treatment, options)) as unknown as Record<string, number>;
    for (const [name, value] of Object.entries(expected)) {
      expect(Math.abs((answer[name] ?? Number.NaN) - value), name).toBeLessThan(6e-5);
    }
  };
  await near(arms, { effect: 0.63646, low: -0.0875, high: 1.36048, p: 0.08487 });
  await near([...arms, { test: "bayesian" }], {
    effect: 0.63646,
    low: -0.0873,
    high: 1.36026,
    chance_to_win: 0.95759,
  });
  await near([proportion(1529, 87), proportion(1471, 62)], {
    effect: -0.25925,
    low: -0.49475,
    high: -0.02376,
    p: 0.03096,
  });
  const ratio = (n: number, numerator: number, squares: number, denominator: number): Json => ({
    type: "ratio",
    n,
    numerator: { sum: numerator, sum_squares: squares },
    denominator: { sum: denominator, sum_squares: denominator },
    sum_products: numerator,
  });
  await near(
    [ratio(1966, 94605.79858780127, 10463129.505392816, 936), ratio(2034, 99673.9364269569, 11298745.182728939, 947)],
    { effect: 0.041333, low: 0.01378609, high: 0.0689, p: 0.0032826 },
  );
});

test("gbstats gives the same answers for statistics of random users", async () => {
  const rows = golden.filter((row) => row.control);
  expect(rows.length).toBeGreaterThan(200);
  const wrong: string[] = [];
  for (const row of rows) {
    const answer = await compare(database, row.control ?? {}, row.treatment ?? {}, row.options);
    for (const text of differences(answer, row)) {
      wrong.push(`${row.control?.["type"]} ${JSON.stringify(row.options)}: ${text}`);
    }
  }
  expect(wrong, wrong.join("\n")).toEqual([]);
});

describe("where gbstats differs", () => {
  const arms: [Json, Json] = [mean(100, 1000, 200000), mean(100, 1100, 200005)];

  test("an absolute prior is rescaled for a relative difference", async () => {
    const prior = { mean: 1, variance: 4, proper: true };
    const absolute = await compare(database, ...arms, {
      test: "bayesian",
      difference: "absolute",
      prior,
      prior_type: "absolute",
    });
    const relative = await compare(database, ...arms, { test: "bayesian", prior, prior_type: "absolute" });
    const scaled = await compare(database, ...arms, {
      test: "bayesian",
      prior: { mean: 0.1, variance: 0.04, proper: true },
    });
    expect(relative).toEqual(scaled);
    // the relative standard error is about a tenth of the absolute one, since the mean of the control is 10
    expect(relative.chance_to_win).toBeCloseTo(absolute.chance_to_win ?? 0, 1);
  });

  test("small probabilities have their digits", async () => {
    // scipy.stats: 2 * t.sf, of t with Satterthwaite's degrees of freedom
    const { p } = await compare(database, proportion(1e6, 100000), proportion(1e6, 105000));
    expect((p ?? 0) / 5.556997580483497e-30).toBeCloseTo(1, 9);
    const far = await compare(database, proportion(1000, 100), proportion(1000, 500), {
      test: "sequential",
      side: "greater",
    });
    expect(far.p).toBeLessThan(1e-5);
    expect(far.p).toBeGreaterThan(0);
    const bayesian = await compare(database, proportion(1000, 500), proportion(1000, 250), { test: "bayesian" });
    expect(bayesian.chance_to_win).toBeGreaterThan(0);
    expect(bayesian.chance_to_win).toBeLessThan(1e-30);
  });

  test("the interval of a quantile does not depend on its unit", async () => {
    const quantile = (unit: number, shift: number): Json => ({
      type: "quantile",
      n: 5000,
      n_star: 5000,
      nu: 0.9,
      quantile_hat: unit * (1 + shift),
      quantile_lower: unit * (0.9999 + shift),
      quantile_upper: unit * (1.0001 + shift),
    });
    const seconds = await compare(database, quantile(1, 0), quantile(1, 0.0001));
    const milliseconds = await compare(database, quantile(1000, 0), quantile(1000, 0.0001));
    expect(seconds.p).toBeCloseTo(milliseconds.p ?? 0, 9);
    expect(seconds.stddev).toBeCloseTo(milliseconds.stddev, 12);
  });
});

test("sums of a billion users keep the digits of a small variance", async () => {
  // values of 1e6 - 1, 1e6 and 1e6 + 1 …; in double precision the squares of both sums are equal to sixteen digits
  const control = '{"type": "mean", "n": 1000000000, "sum": 1000000000000000, "sum_squares": 1000000000000999999999}';
  const treatment = '{"type": "mean", "n": 1000000000, "sum": 1000000000500000, "sum_squares": 1000000001001000000000}';
  expect(await database.value("select experiment.moments($1)", [control])).toEqual({
    mean: 1e6,
    variance: 1,
    unadjusted_mean: 1e6,
  });
  const { effect, stddev } = await database.value<Answer>(
    `select experiment.compare($1, $2, '{"difference": "absolute"}')`,
    [control, treatment],
  );
  expect(effect).toBe(0.0005);
  expect(stddev / 4.472135676609107e-5).toBeCloseTo(1, 12);
});

describe("properties", () => {
  /** Sufficient statistics of drawn users, whose outcomes depend on the time before. */
  const users = fc.array(fc.tuple(fc.integer({ min: -50, max: 50 }), fc.integer({ min: -20, max: 20 })), {
    minLength: 5,
    maxLength: 40,
  });
  const statistic = (values: readonly (readonly [number, number])[], unit = 1): Json => {
    const after = values.map(([before, noise], i) => unit * (100 + before + noise + (i % 3)));
    const before = values.map(([value]) => unit * (100 + value));
    const dot = (x: number[], y: number[]): number => x.reduce((sum, value, i) => sum + value * (y[i] ?? 0), 0);
    return {
      type: "mean",
      n: values.length,
      sum: dot(
        after,
        after.map(() => 1),
      ),
      sum_squares: dot(after, after),
      before: {
        sum: dot(
          before,
          before.map(() => 1),
        ),
        sum_squares: dot(before, before),
      },
      sum_products_before: dot(after, before),
    };
  };
  const plain = ({ before: _before, sum_products_before: _products, ...rest }: Json): Json => rest;
  const varied = users.filter((values) => new Set(values.map(([a, b]) => a + b)).size > 4);
  const options = fc.record({
    test: fc.constantFrom("welch", "sequential", "bayesian"),
    alpha: fc.constantFrom(0.05, 0.2),
  });

  test("a swap of the arms changes the sign of an absolute difference and the tested side", async () => {
    await fc.assert(
      fc.asyncProperty(varied, varied, options, fc.boolean(), async (x, y, chosen, isPlain) => {
        const [a, b] = [statistic(x), statistic(y)].map(isPlain ? plain : (s) => s) as [Json, Json];
        const there = await compare(database, a, b, { ...chosen, difference: "absolute", side: "greater" });
        const back = await compare(database, b, a, { ...chosen, difference: "absolute", side: "less" });
        expect(back.effect).toBeCloseTo(-there.effect, 9);
        expect(back.stddev).toBeCloseTo(there.stddev, 9);
        expect(back.high).toBeCloseTo(-(there.low ?? Number.NaN), 8);
        if (chosen.test === "bayesian") {
          expect(back.chance_to_win).toBeCloseTo(1 - (there.chance_to_win ?? 0), 9);
          expect(back.risk?.[0]).toBeCloseTo(there.risk?.[1] ?? Number.NaN, 8);
        } else expect(back.p).toBeCloseTo(there.p ?? Number.NaN, 8);
      }),
      { numRuns: 40, seed: 20261101 },
    );
  });

  test("the unit of the outcomes changes no relative difference", async () => {
    await fc.assert(
      fc.asyncProperty(varied, varied, options, fc.constantFrom(-1024, 1 / 1024, 1024), async (x, y, chosen, unit) => {
        const one = await compare(database, statistic(x), statistic(y), chosen);
        const other = await compare(database, statistic(x, unit), statistic(y, unit), chosen);
        const sign = Math.sign(unit);
        expect(other.effect).toBeCloseTo(sign * one.effect, 9);
        expect(other.stddev).toBeCloseTo(one.stddev, 9);
        if (unit === 1024) expect(other).toEqual(one);
      }),
      { numRuns: 40, seed: 20261102 },
    );
  });

  test("a p-value is below alpha exactly when the interval excludes 0", async () => {
    await fc.assert(
      fc.asyncProperty(
        varied,
        varied,
        fc.constantFrom("welch", "sequential"),
        fc.constantFrom("both", "greater", "less"),
        fc.constantFrom(0.01, 0.05, 0.2, 0.4),
        async (x, y, chosen, side, alpha) => {
          const shifted = y.map(([before, noise], i) => [before, noise + (x.length % 7) * 3 + (i % 2)] as const);
          const { low, high, p } = await compare(database, statistic(x), statistic(shifted), {
            test: chosen,
            side,
            alpha,
          });
          const excludes = (low !== null && low > 0) || (high !== null && high < 0);
          if (p !== alpha) expect((p ?? 1) < alpha).toBe(excludes);
          expect(low === null).toBe(side === "less");
          expect(high === null).toBe(side === "greater");
        },
      ),
      { numRuns: 60, seed: 20261103 },
    );
  });

  test("the p-value of a sequential test of one side is the alpha at which the bound is 0", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 60 }), fc.constantFrom(0.01, 0.05), async (more, alpha) => {
        const arms: [Json, Json] = [proportion(2000, 400), proportion(2000, 400 + 3 * more)];
        const options = { test: "sequential", side: "greater", alpha, difference: "absolute" };
        const { effect, stddev, p } = await compare(database, ...arms, options);
        const log = -2 * Math.log(2 * alpha);
        const mixture = (4000 * (log + Math.log(log + 1))) / 5000;
        const exact = Math.sqrt(mixture + 1) / 2 / Math.expm1(((effect / stddev) ** 2 * mixture) / (2 * (mixture + 1)));
        if (exact > 0.4999) expect(p).toBe(0.4999);
        else if (exact < 1e-5) expect((p ?? 0) / exact).toBeCloseTo(1, 9);
        else expect(Math.abs((p ?? 0) - exact)).toBeLessThan(1e-3);
      }),
      { numRuns: 40, seed: 20261106 },
    );
  });

  test("the answer of Welch's test is that of the textbook", async () => {
    await fc.assert(
      fc.asyncProperty(varied, varied, async (x, y) => {
        const [a, b] = [plain(statistic(x)), plain(statistic(y))] as { n: number; sum: number; sum_squares: number }[];
        if (!a || !b) throw new Error("two arms");
        const moments = ({ n, sum, sum_squares }: typeof a): [number, number] => [
          sum / n,
          (sum_squares - sum ** 2 / n) / (n - 1) / n,
        ];
        const [meanA, errorA] = moments(a);
        const [meanB, errorB] = moments(b);
        const t = (meanB - meanA) / Math.sqrt(errorA + errorB);
        const degrees = (errorA + errorB) ** 2 / (errorA ** 2 / (a.n - 1) + errorB ** 2 / (b.n - 1));
        const { p, stddev } = await compare(database, a as unknown as Json, b as unknown as Json, {
          difference: "absolute",
        });
        expect(stddev).toBeCloseTo(Math.sqrt(errorA + errorB), 9);
        expect(p).toBeCloseTo(
          await database.value<number>("select 2 * ml.students_t_cdf(-abs($1::float8), $2)", [t, degrees]),
          8,
        );
      }),
      { numRuns: 40, seed: 20261104 },
    );
  });

  test("the time before the exposure takes off the variance that it explains", async () => {
    // y = x + noise with the noise known: the adjusted variance is that of the residuals of a regression
    const values = Array.from({ length: 200 }, (_, i) => [((i * 37) % 101) - 50, ((i * 53) % 41) - 20] as const);
    const others = Array.from({ length: 200 }, (_, i) => [((i * 29) % 101) - 50, ((i * 31) % 41) - 15] as const);
    const adjusted = await compare(database, statistic(values), statistic(others), { difference: "absolute" });
    const unadjusted = await compare(database, plain(statistic(values)), plain(statistic(others)), {
      difference: "absolute",
    });
    expect(adjusted.stddev).toBeLessThan(unadjusted.stddev / 2);
    const fixed = { ...statistic(values), theta: 0 };
    expect(await compare(database, fixed, { ...statistic(others), theta: 0 }, { difference: "absolute" })).toEqual(
      unadjusted,
    );
  });
});

describe("bad input", () => {
  const good = proportion(100, 20);
  const other = proportion(100, 30);
  const rejected = async (control: unknown, options: unknown = {}): Promise<string> => {
    const error = await database.rejects("select experiment.compare($1, $2, $3)", [
      JSON.stringify(control),
      JSON.stringify(other),
      JSON.stringify(options),
    ]);
    expect(error.code).toMatch(/^CF0/);
    expect(error.hint).toBeTruthy();
    return `${error.code} ${error.message}`;
  };

  test.each<[unknown, string]>([
    [[], "CF001 control is []"],
    [null, "CF001 control is null"],
    [{ n: 1 }, "CF001 type of control is missing"],
    [{ ...good, type: "median" }, 'CF001 type is "median"'],
    [{ ...good, summ: 3 }, 'CF001 control has the field "summ"'],
    [proportion(-5, 0), "CF001 n of control is -5"],
    [proportion(10.5, 1), "CF001 n of control is 10.5"],
    [{ ...good, n: "100" }, 'CF001 n of control is "100"'],
    [{ ...good, sum: "NaN" }, 'CF001 sum of control is "NaN"'],
    [{ ...good, sum: null }, "CF001 sum of control is missing"],
    [proportion(100, 101), "CF001 sum of control is 101, and n 100"],
    [proportion(0, 0), "CF004 control has 0 users"],
    [proportion(1, 0), "CF004 control has 1 user"],
    [proportion(100, 100), "CF007 the variance of control is 0"],
    [proportion(100, 0), "CF007 the variance of control is 0"],
    [{ type: "mean", n: 10, sum: 5 }, "CF001 sum_squares of control is missing"],
    [mean(10, 5, 9), "CF001 control is a mean, and treatment a proportion"],
    [{ ...good, before: { sum: 3 }, sum_products_before: 1 }, "CF001 control is a proportion with the time before"],
    [{ ...good, before: { sum: 3 } }, "CF001 sum_products_before of control is missing"],
    [{ ...good, sum_products_before: 3 }, "CF001 before of control is missing"],
    [{ ...good, theta: 0.5 }, "CF001 control has a theta, and no sums of the time before"],
    [{ ...good, before: { n: 99, sum: 3 }, sum_products_before: 1 }, "CF001 n of before of control is 99"],
    [
      { ...mean(10, 5, 9), before: { sum: 5, sum_squares: 9 }, sum_products_before: 10 },
      "CF001 the sum of products 10 of control (mean and before) is impossible",
    ],
    [{ type: "ratio", n: 10, numerator: { sum: 1, sum_squares: 2 } }, "CF001 denominator of control is missing"],
    [mean(10, 100, 900), "CF001 n 10, sum 100 and sum_squares 900 of control (mean) are impossible"],
  ])("of a statistic: %j", async (control, message) => {
    expect(await rejected(control)).toContain(message);
  });

  test("numbers that are too large, too small or too long", async () => {
    for (const text of ["1e300", "1e-300", `1${"0".repeat(500)}`, `0.${"0".repeat(3000)}1`]) {
      const error = await database.rejects("select experiment.compare($1, $2)", [
        `{"type": "mean", "n": 10, "sum": ${text}, "sum_squares": 1}`,
        JSON.stringify(mean(10, 5, 9)),
      ]);
      expect(error).toMatchObject({ code: "CF001" });
      expect(error.message.length).toBeLessThan(250);
    }
  });

  test.each<[unknown, string]>([
    [[], "CF001 options is []"],
    [{ tset: "welch" }, 'CF001 options has the field "tset"'],
    [{ test: "wlch" }, 'CF001 test is "wlch"'],
    [{ side: 2 }, "CF001 side is 2"],
    [{ alpha: 0 }, "CF001 alpha is 0"],
    [{ alpha: 1 }, "CF001 alpha is 1"],
    [{ alpha: "5 %" }, 'CF001 alpha of options is "5 %"'],
    [{ test: "sequential", side: "less", alpha: 0.5 }, "CF001 alpha is 0.5"],
    [{ tuning: 0 }, "CF001 tuning is 0"],
    [{ prior: { variance: 0, proper: true } }, "CF001 variance of prior is 0"],
    [{ prior: { sd: 1 } }, 'CF001 prior has the field "sd"'],
    [{ inverse: "yes" }, 'CF001 inverse is "yes"'],
    [{ difference: "scaled" }, "CF001 users is missing"],
    [{ difference: "scaled", users: 0 }, "CF001 users is 0"],
    [{ difference: "scaled", users: 10, days: 0 }, "CF001 days is 0"],
    [{ difference: "scaled", users: 10, traffic: 0 }, "CF001 traffic is 0"],
    [{ pool: true }, 'CF001 options has the field "pool"'],
  ])("of the options: %j", async (options, message) => {
    expect(await rejected(good, options)).toContain(message);
  });

  test("a control of mean 0, and scaled ratios", async () => {
    expect(
      await database.rejects("select experiment.compare($1, $2)", [
        JSON.stringify(mean(10, 0, 9)),
        JSON.stringify(mean(10, 5, 9)),
      ]),
    ).toMatchObject({ code: "CF007", message: "the mean of control is 0" });
    const ratio = golden.find(({ control }) => control?.["type"] === "ratio");
    expect(
      await database.rejects(`select experiment.compare($1, $2, '{"difference": "scaled", "users": 5}')`, [
        JSON.stringify(ratio?.control),
        JSON.stringify(ratio?.treatment),
      ]),
    ).toMatchObject({ code: "CF001", message: "difference is scaled, and the type ratio" });
  });

  test("hostile values in a valid statistic give an answer or an error of our own", async () => {
    const hostile = fc.constantFrom<unknown>(
      ...[0, 1, -1, 2, 0.5, 1e15, 1e30, -1e30, 1e59, 1e-30, 1e-59, null, "x", [], {}, true],
    );
    const rows = golden.filter((row) => row.control);
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: rows.length - 1 }),
        fc.array(fc.tuple(fc.nat({ max: 40 }), hostile), { minLength: 1, maxLength: 3 }),
        async (index, changes) => {
          const row = structuredClone(rows[index]) as { control: Json; treatment: Json; options: Json };
          const places: [Json, string][] = [];
          const walk = (object: Json): void => {
            for (const [key, value] of Object.entries(object)) {
              if (value !== null && typeof value === "object") walk(value as Json);
              else places.push([object, key]);
            }
          };
          walk(row as unknown as Json);
          for (const [place, value] of changes) {
            const [object, key] = places[place % places.length] ?? [{}, ""];
            object[key] = value;
          }
          try {
            await compare(database, row.control, row.treatment, row.options);
          } catch (error) {
            expect((error as { code?: string }).code, JSON.stringify(row)).toMatch(/^CF/);
          }
        },
      ),
      { numRuns: 400, seed: 20261105 },
    );
  });
});

test("the roles that may call it, and no setting of the session changes the answer", async () => {
  const rows = golden.filter((row, i) => row.control && i % 20 === 0);
  for (const { control, treatment, options } of rows) {
    const expected = await compare(database, control ?? {}, treatment ?? {}, options);
    for (const role of ["insights_analyst", "insights_admin", "insights_worker"]) {
      const answer = await database.as(role, { extra_float_digits: "-10", search_path: "pg_temp" }, (db) =>
        compare(db, control ?? {}, treatment ?? {}, options),
      );
      expect(answer).toEqual(expected);
    }
  }
  for (const role of ["insights_learner", "insights_visitor"]) {
    await database.as(role, {}, async (db) => {
      expect(await db.rejects("select experiment.compare('{}', '{}')")).toMatchObject({ code: "42501" });
    });
  }
});
