import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { generator } from "../../../support/matrix.ts";
import { compare, compareStrata, golden, type Json } from "./gbstats.ts";

const database = await testDatabase();

const proportion = (n: number, sum: number): Json => ({ type: "proportion", n, sum });
const mean = (n: number, sum: number, sum_squares: number): Json => ({ type: "mean", n, sum, sum_squares });
const times = (part: unknown, factor: number): unknown => (part === undefined ? undefined : Number(part) * factor);
const squared = (part: unknown, factor: number): Json => ({
  sum: Number((part as Json)["sum"]) * factor,
  sum_squares: Number((part as Json)["sum_squares"]) * factor ** 2,
});

/** The statistic of outcomes that are multiplied with a factor; of a ratio, its numerators. */
function multiplied(statistic: Json, factor: number): Json {
  if (statistic["type"] === "ratio") {
    const products = statistic["products"] as Json | undefined;
    return {
      ...statistic,
      numerator: squared(statistic["numerator"], factor),
      sum_products: times(statistic["sum_products"], factor),
      products:
        products &&
        Object.fromEntries(
          Object.entries(products).map(([name, value]) => [
            name,
            name.startsWith("m_post") ? times(value, factor) : value,
          ]),
        ),
    };
  }
  if (statistic["type"] === "quantile") {
    return {
      ...statistic,
      ...Object.fromEntries(
        ["quantile_hat", "quantile_lower", "quantile_upper"].map((name) => [name, times(statistic[name], factor)]),
      ),
    };
  }
  return {
    ...statistic,
    ...squared(statistic, factor),
    sum_products_before: times(statistic["sum_products_before"], factor),
  };
}

const close = (got: number | null | undefined, wanted: number | null | undefined): void => {
  expect(typeof got).toBe(typeof wanted);
  if (typeof got === "number" && typeof wanted === "number") {
    expect(Math.abs(got - wanted)).toBeLessThan(1e-7 * Math.max(1, Math.abs(wanted)));
  }
};

describe("the test with a margin is that of the treatment with the multiplied control", () => {
  const margins = [-0.25, -0.5, 0, 0.25];
  const variants: Json[] = [
    { test: "welch" },
    { test: "welch", side: "greater" },
    { test: "sequential", side: "less", alpha: 0.025 },
    { test: "sequential" },
    { test: "bayesian" },
    { test: "bayesian", inverse: true },
  ];

  test("of means, ratios, quantiles, and with the time before", async () => {
    const kind = (arm: Json | undefined): string =>
      `${arm?.["type"]} ${"before" in (arm ?? {}) || "numerator_before" in (arm ?? {})}`;
    const taken = new Map<string, number>();
    const rows = golden.filter(({ control }) => {
      taken.set(kind(control), (taken.get(kind(control)) ?? 0) + 1);
      return control && control["type"] !== "proportion" && (taken.get(kind(control)) as number) <= 12;
    });
    const types = new Set<unknown>();
    for (const [index, { control, treatment }] of rows.entries()) {
      // One coefficient of the time before: that of the sums would be another one for the multiplied outcomes.
      const given = (arm: Json | undefined): Json =>
        arm && ("before" in arm || "numerator_before" in arm) ? { ...arm, theta: 0.3 } : (arm as Json);
      const [c, t] = [given(control), given(treatment)];
      types.add(kind(control));
      const margin = margins[index % margins.length] as number;
      const options = variants[index % variants.length] as Json;
      const absolute = await compare(database, c, t, { ...options, difference: "absolute", margin });
      const relative = await compare(database, c, t, { ...options, margin });
      const figure = await database.value<number>("select (experiment.moments($1) -> 'unadjusted_mean')::float8", [
        JSON.stringify(c),
      ]);
      const other = await compare(database, multiplied(c, 1 + margin * Math.sign(figure)), t, {
        ...options,
        difference: "absolute",
      });
      close(absolute.stddev, other.stddev);
      for (const answer of [absolute, relative]) {
        close(answer.p, other.p);
        close(answer.chance_to_win, other.chance_to_win);
      }
      close(absolute.effect - margin * Math.abs(figure), other.effect);
      close(relative.effect * Math.abs(figure), absolute.effect);
    }
    expect([...types].sort()).toEqual(["mean false", "mean true", "quantile false", "ratio false", "ratio true"]);
  });

  test("of strata", async () => {
    const pairs = golden.filter(
      ({ strata }) =>
        strata &&
        ["mean", "ratio"].includes(strata[0]?.[0]["type"] as string) &&
        strata.every(([control]) => !("before" in control) && !("numerator_before" in control)),
    );
    expect(pairs.length).toBeGreaterThan(10);
    let stratified = 0;
    for (const [index, { strata = [] }] of pairs.slice(0, 24).entries()) {
      const margin = margins[index % margins.length] as number;
      const options = variants[index % variants.length] as Json;
      const absolute = await compareStrata(database, strata, { ...options, difference: "absolute", margin });
      const relative = await compareStrata(database, strata, { ...options, margin });
      const other = await compareStrata(
        database,
        strata.map(([control, treatment]) => [multiplied(control, 1 + margin), treatment]),
        { ...options, difference: "absolute" },
      );
      stratified += absolute.post_stratified ? 1 : 0;
      for (const answer of [absolute, relative]) {
        close(answer.p, other.p);
        close(answer.chance_to_win, other.chance_to_win);
      }
      close(absolute.stddev, other.stddev);
    }
    expect(stratified).toBeGreaterThan(5);
  });
});

test("proportions in closed form", async () => {
  // 40 of 1000 against 1.5 times 20 of 800: 0.04 - 0.0375, variance 0.0384 / 1000 + 2.25 * 0.024375 / 800.
  const [a, b] = [(2.25 * 0.024375) / 800, 0.0384 / 1000];
  const degrees = (a + b) ** 2 / (a ** 2 / 799 + b ** 2 / 999);
  const answer = await compare(database, proportion(800, 20), proportion(1000, 40), { side: "greater", margin: 0.5 });
  const [p, quantile] = await database.value<[number, number]>(
    "select array[ml.students_t_cdf($1, $2), experiment._t_quantile(0.05, $2)]",
    [-(0.0025 / Math.sqrt(a + b)), degrees],
  );
  expect(answer.p).toBeCloseTo(p, 12);
  expect(answer.effect).toBeCloseTo(0.6, 12);
  expect(answer.stddev).toBeCloseTo(Math.sqrt(a + b) / 0.025, 12);
  expect(answer.low).toBeCloseTo(0.6 + (quantile * Math.sqrt(a + b)) / 0.025, 10);
  expect(answer.high).toBeNull();
});

test("the p-value is below alpha exactly when the interval excludes the margin", async () => {
  const arm = fc
    .tuple(fc.integer({ min: 20, max: 5000 }), fc.double({ min: 0.001, max: 0.999, noNaN: true }))
    .map(([n, share]) => proportion(n, Math.max(1, Math.min(n - 1, Math.round(n * share)))));
  await fc.assert(
    fc.asyncProperty(
      arm,
      arm,
      fc.integer({ min: -100, max: 100 }).map((percent) => percent / 100),
      fc.constantFrom("both", "greater", "less"),
      fc.constantFrom("welch", "sequential"),
      fc.constantFrom("relative", "absolute"),
      async (control, treatment, margin, side, chosen, difference) => {
        const { low, high, p } = await compare(database, control, treatment, {
          margin,
          side,
          test: chosen,
          difference,
        });
        const unit = difference === "relative" ? 1 : Number(control["sum"]) / Number(control["n"]);
        const excluded = (low ?? -Infinity) > margin * unit || (high ?? Infinity) < margin * unit;
        expect((p as number) < 0.05).toBe(excluded);
      },
    ),
    { numRuns: 200 },
  );
});

test("a control without outcomes is compared with the variance of the treatment, and has no relative difference", async () => {
  const options = { side: "greater", margin: 0.1 };
  const absolute = await compare(database, proportion(1000, 0), proportion(1000, 60), {
    ...options,
    difference: "absolute",
  });
  // Both variances are 0.06 * 0.94, the one of the control times 1 (its mean has no sign).
  expect(absolute.stddev).toBeCloseTo(Math.sqrt((2 * 0.06 * 0.94) / 1000), 12);
  expect(absolute.p).toBeLessThan(1e-7);
  // Fisher's exact test of 3 of 1000 against none: 0.1248.
  const few = await compare(database, proportion(1000, 0), proportion(1000, 3), { ...options, difference: "absolute" });
  expect(few.p).toBeGreaterThan(0.1);
  const refused = async (control: Json, treatment: Json, further: Json = {}): Promise<unknown> =>
    database.rejects("select experiment.compare($1, $2, $3)", [
      JSON.stringify(control),
      JSON.stringify(treatment),
      JSON.stringify({ ...options, ...further }),
    ]);
  expect(await refused(proportion(1000, 0), proportion(1000, 60))).toMatchObject({
    code: "CF007",
    message: "the mean of control is 0",
  });
  expect(await refused(proportion(1000, 0), proportion(1000, 0), { difference: "absolute" })).toMatchObject({
    code: "CF007",
  });
  expect(await refused(proportion(1, 1), proportion(1000, 60))).toMatchObject({ code: "CF004" });
  const empty = { type: "ratio", n: 50, numerator: { sum: 0, sum_squares: 0 }, sum_products: 0 };
  const ratio = { ...empty, numerator: { sum: 20, sum_squares: 40 }, sum_products: 30 };
  expect(
    await refused(
      { ...empty, denominator: { sum: 0, sum_squares: 0 } },
      { ...ratio, denominator: { sum: 60, sum_squares: 90 } },
      { difference: "absolute" },
    ),
  ).toMatchObject({ code: "CF007" });
  // All of the control, with the time before: it explains nothing, and is left out.
  const before = { before: { sum: 500, sum_squares: 400 }, sum_products_before: 0 };
  const adjusted = await compare(
    database,
    { ...mean(1000, 0, 0), before: { sum: 500, sum_squares: 400 }, sum_products_before: 0 },
    { ...mean(1000, 60, 60), ...before, sum_products_before: 30 },
    { ...options, difference: "absolute" },
  );
  expect(adjusted.stddev).toBeCloseTo(Math.sqrt((2 * 0.0564 * 1000) / 999 / 1000), 12);
});

test("a control below 0: less is worse, by a share of its size", async () => {
  const control = mean(400, -4000, 80_000);
  const options = { side: "less", margin: -0.1 };
  const same = await compare(database, control, mean(400, -4400, 88_000), options);
  expect([same.effect, same.p]).toEqual([expect.closeTo(-0.1, 12), expect.closeTo(0.5, 12)]);
  const worse = await compare(database, control, mean(400, -8000, 200_000), options);
  expect(worse.effect).toBeCloseTo(-1, 12);
  expect(worse.p).toBeLessThan(1e-6);
});

test("a margin is a share of the control", async () => {
  for (const [margin, message] of [
    [1.5, "margin is 1.5"],
    [-2, "margin is -2"],
    ["much", "margin"],
  ]) {
    expect(
      await database.rejects("select experiment.compare($1, $1, $2)", [
        JSON.stringify(proportion(100, 50)),
        JSON.stringify({ margin }),
      ]),
    ).toMatchObject({ code: "CF001", message: expect.stringContaining(message as string) });
  }
  expect(
    await database.rejects("select experiment.midexperiment_power($1, $1, $2)", [
      JSON.stringify(proportion(100, 50)),
      JSON.stringify({ margin: 0.1 }),
    ]),
  ).toMatchObject({ code: "CF001" });
});

/** Numbers of outcomes of `people` people each, in many simulated experiments. */
function simulated(experiments: number, people: number, share: number, seed: number): number[] {
  const next = generator(seed);
  return Array.from({ length: experiments }, () => {
    let sum = 0;
    for (let n = 0; n < people; n++) if (next() < share) sum++;
    return sum;
  });
}

test("error rates and power where the control has few outcomes", async () => {
  const [people, experiments] = [1000, 3000];
  // Share of experiments in which the variation is above (`greater`) or below 1.1 times the control: by the test with a
  // margin, or by the interval of the quotient.
  const rate = (controls: number[], treatments: number[], side: string, hasMargin = true): Promise<number> =>
    database.value<number>(
      `select (sum(entry.count) filter (where case
         when not $5 and $4 = 'greater' then (answer.answer ->> 'low')::float8 > 0.1
         when not $5 then (answer.answer ->> 'high')::float8 < 0.1
         else (answer.answer ->> 'p')::float8 < 0.05
       end) / sum(entry.count))::float8
       from (
         select control, treatment, count(*) from unnest($1::int[], $2::int[]) as entry (control, treatment)
         group by control, treatment
       ) as entry
       cross join lateral experiment.compare(
         jsonb_build_object('type', 'proportion', 'n', $3::int, 'sum', control),
         jsonb_build_object('type', 'proportion', 'n', $3::int, 'sum', treatment),
         jsonb_build_object('side', $4::text, 'margin', case when $5 then 0.1 end)
       ) as answer (answer)
       where entry.control > 0 and entry.treatment > 0`,
      [controls, treatments, people, side, hasMargin],
    );
  const control = simulated(experiments, people, 0.01, 1);
  // At the margin each test is wrong in 5 % of the experiments (± 0.8 %); the interval of the quotient in none, and in 10 %.
  const atMargin = simulated(experiments, people, 0.011, 2);
  for (const side of ["greater", "less"]) {
    const wrong = await rate(control, atMargin, side);
    expect(wrong).toBeGreaterThan(0.04);
    expect(wrong).toBeLessThan(0.062);
  }
  expect(await rate(control, atMargin, "greater", false)).toBeLessThan(0.01);
  expect(await rate(control, atMargin, "less", false)).toBeGreaterThan(0.09);
  // Three times the outcomes of the control.
  const harmful = simulated(experiments, people, 0.03, 3);
  expect(await rate(control, harmful, "greater")).toBeGreaterThan(0.9);
  expect(await rate(control, harmful, "greater", false)).toBeLessThan(0.65);
});
