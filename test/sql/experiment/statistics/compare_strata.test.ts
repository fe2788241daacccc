import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { compare, compareStrata, differences, golden, type Json } from "./gbstats.ts";

const database = await testDatabase();

const strata = golden.filter((row) => row.strata);
const mean = (n: number, sum: number, sum_squares: number): Json => ({ type: "mean", n, sum, sum_squares });
const proportion = (n: number, sum: number): Json => ({ type: "proportion", n, sum });
const published = (name: string): [Json, Json][] => {
  const row = golden.find(({ source }) => source?.includes(name));
  if (!row?.strata) throw new Error(name);
  return row.strata;
};

test("gbstats gives the same answers, in its tests and for strata of random users", async () => {
  expect(strata.filter(({ source }) => source)).toHaveLength(8);
  expect(strata.length).toBeGreaterThan(60);
  const wrong: string[] = [];
  for (const row of strata) {
    // Pooled proportions are proportions, whose variance gbstats divides by n - 1.
    const isProportion = row.strata?.[0]?.[0]["type"] === "proportion";
    const answer = await compareStrata(database, row.strata ?? [], row.options);
    for (const text of differences(answer, row, isProportion ? 1e-3 : 1e-9)) {
      wrong.push(`${row.source} ${row.strata?.[0]?.[0]["type"]} ${JSON.stringify(row.options)}: ${text}`);
    }
  }
  expect(wrong, wrong.join("\n")).toEqual([]);
});

// packages/stats/tests/frequentist/test_post_strat.py of growthbook/growthbook at 8f1db44
describe("the other tests of gbstats", () => {
  const zero = { sum: 0, sum_squares: 0 };

  test("without variance before the exposure, the statistics after it are compared", async () => {
    const counts = published("count_abs").map((pair) =>
      pair.map((arm) => ({ ...arm, before: zero, sum_products_before: 0 })),
    ) as unknown as [Json, Json][];
    const ratios = published("ratio_abs").map((pair) =>
      pair.map(({ sum_products, ...arm }) => ({
        ...arm,
        numerator_before: zero,
        denominator_before: zero,
        products: {
          m_post_m_pre: 0,
          d_post_d_pre: 0,
          m_pre_d_pre: 0,
          m_post_d_post: sum_products,
          m_post_d_pre: 0,
          m_pre_d_post: 0,
        },
      })),
    ) as unknown as [Json, Json][];
    for (const difference of ["relative", "absolute"]) {
      expect(await compareStrata(database, counts, { difference })).toEqual(
        await compareStrata(database, published("count_abs"), { difference }),
      );
      expect(await compareStrata(database, ratios, { difference })).toEqual(
        await compareStrata(database, published("ratio_abs"), { difference }),
      );
    }
  });

  test("a stratum with an empty arm is added to the largest one", async () => {
    const all = published("count_abs");
    const last = all.at(-1) as [Json, Json];
    const less = { ...last[0], n: 159, sum: (last[0]["sum"] as number) - 1, sum_squares: 274981.98909352464 - 1 };
    const moved: [Json, Json][] = [...all.slice(0, -1), [less, last[1]], [mean(1, 1, 1), mean(0, 0, 0)]];
    const one = await compareStrata(database, all, { difference: "absolute" });
    const other = await compareStrata(database, moved, { difference: "absolute" });
    for (const name of ["effect", "stddev", "low", "high", "p"] as const) {
      expect(other[name], name).toBeCloseTo(one[name] ?? Number.NaN, 9);
    }
  });

  test("a negative control", async () => {
    const spread = (m: number): Json => mean(1000, m * 1000, (m * m + 4) * 1000);
    const ratio = (m: number): Json => ({
      type: "ratio",
      n: 1000,
      numerator: { sum: m * 1000, sum_squares: (m * m + 4) * 1000 },
      denominator: { sum: 1000, sum_squares: 1000 },
      sum_products: m * 1000,
    });
    for (const [m, lift] of [
      [-5, 0.5],
      [-15, -0.5],
      [5, 1.5],
    ] as const) {
      for (const make of [spread, ratio]) {
        const answer = await compareStrata(database, [
          [make(-10), make(m)],
          [make(-10), make(m)],
        ]);
        expect(answer.post_stratified).toBe(true);
        expect(answer.effect).toBeCloseTo(lift, 12);
      }
    }
  });

  test("what has an error message there is an error", async () => {
    const none: [Json, Json] = [mean(21, 0, 0), mean(42, 0, 0)];
    expect(
      await database.rejects("select experiment.compare_strata($1)", [JSON.stringify([none, none])]),
    ).toMatchObject({ code: "CF007", message: "the variance of control is 0" });
    const zeroMean: [Json, Json] = [mean(21, 0, 10), mean(42, 0, 10)];
    expect(
      await database.rejects(`select experiment.compare_strata($1, '{"difference": "absolute"}')`, [
        JSON.stringify([zeroMean, zeroMean]),
      ]),
    ).toMatchObject({ code: "CF007", message: "the mean of control is 0" });
    const quantile = golden.find(({ control }) => control?.["type"] === "quantile");
    const pair = [quantile?.control, quantile?.treatment];
    expect(
      await database.rejects("select experiment.compare_strata($1)", [JSON.stringify([pair, pair])]),
    ).toMatchObject({ code: "CF001", message: "stratum 1 has a quantile" });
    expect(await compareStrata(database, [pair as [Json, Json]])).toMatchObject(
      await compare(database, quantile?.control ?? {}, quantile?.treatment ?? {}),
    );
  });
});

test("post-stratification takes off a difference between the strata", async () => {
  // users of the second stratum buy far more, and by chance more of them are in the treatment
  const pairs: [Json, Json][] = [
    [proportion(6000, 600), proportion(4000, 400)],
    [proportion(4000, 2000), proportion(6000, 3000)],
  ];
  const stratified = await compareStrata(database, pairs, { difference: "absolute" });
  const pooled = await compareStrata(database, pairs, { difference: "absolute", pool: true });
  expect(stratified.effect).toBeCloseTo(0, 12);
  expect(stratified.post_stratified).toBe(true);
  expect(stratified.p).toBeCloseTo(1, 9);
  expect(pooled.effect).toBeCloseTo(0.08, 12);
  expect(pooled.post_stratified).toBe(false);
});

describe("properties", () => {
  const indexes = fc.nat({ max: strata.length - 1 });

  test("the order of the strata changes nothing", async () => {
    await fc.assert(
      fc.asyncProperty(indexes, fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })), async (i, stream) => {
        const row = strata[i];
        if (!row?.strata) throw new Error("strata");
        const shuffled = row.strata
          .map((pair) => ({ pair, key: stream.next().value as number }))
          .sort((a, b) => a.key - b.key)
          .map(({ pair }) => pair);
        const options = { ...row.options, pool: false };
        const one = await compareStrata(database, row.strata, options);
        const other = await compareStrata(database, shuffled, options);
        if (one.post_stratified) expect(other).toEqual(one);
        else expect(other.effect).toBeCloseTo(one.effect, 9);
      }),
      { numRuns: 40, seed: 20261111 },
    );
  });

  test("strata of the same size too, when they are added to the largest", async () => {
    const big = (sum: number): [Json, Json] => [proportion(100, sum), proportion(100, sum + 3)];
    const empty: [Json, Json] = [proportion(5, 0), proportion(5, 2)];
    const pairs = [big(10), big(30), empty, big(20)];
    const one = await compareStrata(database, pairs);
    expect(one.post_stratified).toBe(true);
    expect(await compareStrata(database, [...pairs].reverse())).toEqual(one);
  });

  test("pooled strata are compared as the sums of their statistics", async () => {
    const user = fc.tuple(...Array.from({ length: 4 }, () => fc.integer({ min: 1, max: 30 })));
    const users = fc.array(user, { minLength: 4, maxLength: 15 });
    const dot = (rows: number[][], i: number, j?: number): number =>
      rows.reduce((sum, row) => sum + (row[i] ?? 0) * (j === undefined ? 1 : (row[j] ?? 0)), 0);
    const sums = (rows: number[][], i: number): Json => ({ sum: dot(rows, i), sum_squares: dot(rows, i, i) });
    const kinds: Record<string, (rows: number[][]) => Json> = {
      proportion: (rows) => ({
        type: "proportion",
        n: rows.length,
        sum: rows.filter(([value]) => (value ?? 0) > 15).length,
      }),
      mean: (rows) => ({
        type: "mean",
        n: rows.length,
        ...sums(rows, 0),
        before: sums(rows, 1),
        sum_products_before: dot(rows, 0, 1),
      }),
      ratio: (rows) => ({
        type: "ratio",
        n: rows.length,
        numerator: sums(rows, 0),
        denominator: sums(rows, 1),
        numerator_before: sums(rows, 2),
        denominator_before: sums(rows, 3),
        products: {
          m_post_m_pre: dot(rows, 0, 2),
          d_post_d_pre: dot(rows, 1, 3),
          m_pre_d_pre: dot(rows, 2, 3),
          m_post_d_post: dot(rows, 0, 1),
          m_post_d_pre: dot(rows, 0, 3),
          m_pre_d_post: dot(rows, 1, 2),
        },
      }),
    };
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom("proportion", "mean", "ratio"),
        fc.array(fc.tuple(users, users), { minLength: 2, maxLength: 5 }),
        async (kind, drawn) => {
          const statistic = kinds[kind] as (rows: number[][]) => Json;
          const all = ([0, 1] as const).map((side) => statistic(drawn.flatMap((pair) => pair[side])));
          fc.pre(all.every((arm) => kind !== "proportion" || (Number(arm["sum"]) > 0 && arm["sum"] !== arm["n"])));
          const pairs = drawn.map((pair) => pair.map(statistic)) as [Json, Json][];
          const { post_stratified, ...answer } = await compareStrata(database, pairs, { pool: true });
          expect(post_stratified).toBe(false);
          expect(answer).toEqual(await compare(database, all[0] ?? {}, all[1] ?? {}));
        },
      ),
      { numRuns: 40, seed: 20261112 },
    );
  });
});

test.each<[unknown, string]>([
  [null, "strata is null"],
  [[], "strata is []"],
  [{}, "strata is {}"],
  [[[proportion(10, 2)]], "stratum 1 is [{"],
  [[[proportion(10, 2), proportion(10, 20)]], "sum of treatment of stratum 1 is 20, and n 10"],
  [
    [
      [proportion(10, 2), proportion(10, 2)],
      [mean(10, 2, 5), mean(10, 2, 5)],
    ],
    "stratum 2 is of another metric than stratum 1",
  ],
])("bad input: %j", async (value, message) => {
  const error = await database.rejects("select experiment.compare_strata($1)", [JSON.stringify(value)]);
  expect(error).toMatchObject({ code: "CF001" });
  expect(error.message).toContain(message);
});

test("at most 1000 strata", async () => {
  const pair = [proportion(10, 2), proportion(10, 3)];
  expect(
    await database.rejects("select experiment.compare_strata($1)", [
      JSON.stringify(Array.from({ length: 1001 }, () => pair)),
    ]),
  ).toMatchObject({ code: "CF001" });
  const answer = await compareStrata(
    database,
    Array.from({ length: 1000 }, () => pair as [Json, Json]),
  );
  expect(answer.effect).toBeCloseTo(0.5, 12);
});
