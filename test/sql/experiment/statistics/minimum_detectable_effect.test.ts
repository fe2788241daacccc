import fc from "fast-check";
import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import type { Json } from "./gbstats.ts";

const database = await testDatabase();

const effect = (baseline: Json, users: number[], options: Json = {}): Promise<number> =>
  database.value<number>("select experiment.minimum_detectable_effect($1, $2, $3)", [
    JSON.stringify(baseline),
    users,
    JSON.stringify(options),
  ]);

// packages/shared/test/power.test.ts of growthbook/growthbook at 8f1db44
test("the published numbers of GrowthBook", async () => {
  const mean = { type: "mean", mean: 10, variance: 3909.9997749994377 };
  expect((await effect(mean, [400000 / 3, 400000 / 3])).toFixed(5)).toBe("0.07027");
  // by the normal distribution, from which the t distribution differs for few users
  const revenue = { type: "mean", mean: 0.1, variance: 0.5 };
  const expected = [1.26769, 0.71941, 0.54299, 0.4506, 0.39208, 0.35099, 0.32018, 0.29603, 0.27647];
  for (const [i, value] of expected.entries()) {
    const users = 1500 * (i + 1);
    expect(Math.abs((await effect(revenue, [users, users])) / value - 1)).toBeLessThan(2e-3);
  }
});

test("it is the effect that is found with the given power", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom<Json>(
        { type: "proportion", mean: 0.2 },
        { type: "mean", mean: 5, variance: 4, correlation: 0.5 },
        { type: "ratio", mean: 5, variance: 4 },
        { type: "mean", mean: -5, variance: 4 },
      ),
      fc.record({
        test: fc.constantFrom("welch", "sequential"),
        side: fc.constantFrom("both", "greater", "less"),
        difference: fc.constantFrom("relative", "absolute"),
        alpha: fc.constantFrom(0.01, 0.05),
        power: fc.constantFrom(0.5, 0.8, 0.95),
      }),
      fc.tuple(fc.integer({ min: 600, max: 5000 }), fc.integer({ min: 600, max: 5000 })),
      async (baseline, options, users) => {
        const found = await effect(baseline, users, options);
        expect(Math.sign(found)).toBe(options.side === "less" ? -1 : 1);
        const power = await database.value<number>("select experiment.power($1, $2, $3, $4)", [
          JSON.stringify(baseline),
          found,
          users,
          JSON.stringify(options),
        ]);
        expect(power).toBeCloseTo(options.power, 9);
      },
    ),
    { numRuns: 25, seed: 20261141 },
  );
});

test("no effect is found", async () => {
  for (const [baseline, users] of [
    [{ type: "mean", mean: 1, variance: 100 }, [20, 20]],
    [{ type: "proportion", mean: 0.99 }, [20, 20]],
  ] as const) {
    expect(
      await database.rejects("select experiment.minimum_detectable_effect($1, $2)", [JSON.stringify(baseline), users]),
    ).toMatchObject({ code: "CF004", hint: "Give more users." });
  }
});

test("bad input", async () => {
  expect(
    await database.rejects(`select experiment.minimum_detectable_effect('{"mean": 1, "variance": 4}', '{0, 5}')`),
  ).toMatchObject({ code: "CF001", message: "users is {0,5}" });
  expect(await database.rejects("select experiment.minimum_detectable_effect('{}', '{10, 10}')")).toMatchObject({
    code: "CF001",
    message: "type of baseline is missing",
  });
});
