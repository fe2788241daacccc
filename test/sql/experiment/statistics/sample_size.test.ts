import fc from "fast-check";
import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import type { Json } from "./gbstats.ts";

const database = await testDatabase();

const size = async (baseline: Json, effect: number, options: Json = {}): Promise<[number, number]> => {
  const users = await database.value<string[]>("select experiment.sample_size($1, $2, $3)", [
    JSON.stringify(baseline),
    effect,
    JSON.stringify(options),
  ]);
  return [Number(users[0]), Number(users[1])];
};

const unit = { type: "mean", mean: 0, variance: 1 };
const absolute = { difference: "absolute" };

test("textbook values", async () => {
  // R: power.t.test(power = .90, delta = 1) is 22.02110, and with alternative = "one.sided" 17.84713
  expect(await size(unit, 1, { ...absolute, power: 0.9 })).toEqual([23, 23]);
  expect(await size(unit, 1, { ...absolute, power: 0.9, side: "greater" })).toEqual([18, 18]);
  // R: power.prop.test(p1 = .1, p2 = .11, power = .8) is 14750.79, with the pooled variance; 14748.05 without
  const [control] = await size({ type: "proportion", mean: 0.1 }, 0.01, absolute);
  expect(control).toBeGreaterThanOrEqual(14748);
  expect(control).toBeLessThanOrEqual(14752);
  // Chow, Shao and Wang, Sample Size Calculations in Clinical Research, 4.2.2: 70 by the normal distribution
  const [proportion] = await size({ type: "proportion", mean: 0.65 }, 0.2, absolute);
  expect([70, 71, 72]).toContain(proportion);
});

test("one user less does not reach the power", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom<Json>(
        { type: "proportion", mean: 0.2 },
        { type: "mean", mean: 5, variance: 4 },
        { type: "ratio", mean: 5, variance: 4, correlation: 0.7 },
      ),
      fc.double({ min: 0.02, max: 0.5, noNaN: true }),
      fc.record({
        test: fc.constantFrom("welch", "sequential"),
        allocation: fc.constantFrom(0.25, 1, 3),
        power: fc.constantFrom(0.6, 0.9),
      }),
      async (baseline, effect, options) => {
        const [control, treatment] = await size(baseline, effect, options);
        expect(treatment).toBe(Math.ceil(control * options.allocation));
        const power = (users: number): Promise<number> =>
          database.value<number>("select experiment.power($1, $2, $3, $4)", [
            JSON.stringify(baseline),
            effect,
            [users, Math.ceil(users * options.allocation)],
            JSON.stringify({ test: options.test }),
          ]);
        expect(await power(control)).toBeGreaterThanOrEqual(options.power);
        if (control > Math.max(2, Math.ceil(2 / options.allocation))) {
          expect(await power(control - 1)).toBeLessThan(options.power);
        }
      },
    ),
    { numRuns: 20, seed: 20261151 },
  );
});

test("bad input", async () => {
  const rejects = (effect: number | null, options: Json): ReturnType<typeof database.rejects> =>
    database.rejects("select experiment.sample_size($1, $2, $3)", [
      JSON.stringify(unit),
      effect,
      JSON.stringify(options),
    ]);
  expect(await rejects(0, absolute)).toMatchObject({ code: "CF001", message: "effect is 0, and side both" });
  expect(await rejects(null, absolute)).toMatchObject({ code: "CF001" });
  expect(await rejects(1e-9, absolute)).toMatchObject({
    code: "CF004",
    message: expect.stringContaining("1e12 users"),
  });
  expect(await rejects(1, { ...absolute, allocation: 0 })).toMatchObject({ message: "allocation is 0" });
  expect(await rejects(1, { ...absolute, power: 1 })).toMatchObject({ message: "power is 1" });
});
