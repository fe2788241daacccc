import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import type { Json } from "./gbstats.ts";

const database = await testDatabase();

interface Power {
  power: number;
  scaling_factor: number | null;
  additional_users: number | null;
}

const control = { type: "mean", n: 500, sum: 499.99999999999994, sum_squares: 1499.999999999999 };
const treatment = { type: "mean", n: 500, sum: 525.0000000000008, sum_squares: 1551.2499999999998 };
const midexperiment = (options: Json): Promise<Power> =>
  database.value<Power>("select experiment.midexperiment_power($1, $2, $3)", [
    JSON.stringify(control),
    JSON.stringify(treatment),
    JSON.stringify({ target_effect: 0.05, ...options }),
  ]);

// packages/stats/tests/test_midexperimentpower.py of growthbook/growthbook at 8f1db44
test.each<[Json, number]>([
  [{}, 25.45703125],
  [{ test: "sequential" }, 55.66796875],
  [{ test: "bayesian", prior: { mean: 0.05, variance: 0.001, proper: true } }, 13.9404296875],
])("gbstats' factor for %j is %d", async (options, expected) => {
  const { scaling_factor, additional_users } = await midexperiment(options);
  expect(scaling_factor).toBeCloseTo(expected, 9);
  expect(additional_users).toBe(Math.ceil(expected * 1000));
});

test("the factor reaches the power, with the formula of the normal distribution", async () => {
  const { power, scaling_factor } = await midexperiment({});
  const stddev = await database.value<number>("select experiment.compare($1, $2) ->> 'stddev'", [
    JSON.stringify(control),
    JSON.stringify(treatment),
  ]);
  const expected = (factor: number): Promise<number> => {
    const z = 0.05 / (Number(stddev) / Math.sqrt(1 + factor));
    return database.value<number>("select ml.normal_cdf($1) + ml.normal_cdf($2)", [
      z - 1.959963984540054,
      -z - 1.959963984540054,
    ]);
  };
  expect(power).toBeCloseTo(await expected(0), 9);
  expect(Math.abs((await expected(scaling_factor ?? 0)) - 0.8)).toBeLessThan(1e-5);
});

test("more metrics and corrected p-values need more users; a reached power none", async () => {
  const one = await midexperiment({});
  const several = await midexperiment({ goal_metrics: 3 });
  const corrected = await midexperiment({ goal_metrics: 3, variations: 4, corrected: true });
  expect(several.scaling_factor).toBeGreaterThan(one.scaling_factor ?? 0);
  expect(corrected.scaling_factor).toBeGreaterThan(several.scaling_factor ?? 0);
  expect(await midexperiment({ target_effect: 0.5 })).toMatchObject({ scaling_factor: 0, additional_users: 0 });
  expect(await midexperiment({ target_effect: 1e-9 })).toMatchObject({ scaling_factor: null, additional_users: null });
  // the sign of the effect does not matter
  expect(await midexperiment({ target_effect: -0.05 })).toEqual(one);
});

test.each<[Json, string]>([
  [{ side: "greater" }, "side is greater, and difference relative"],
  [{ difference: "scaled", users: 5 }, "side is both, and difference scaled"],
  [{ target_effect: 0 }, "target_effect is 0"],
  [{ target_power: 1 }, "target_power is 1"],
  [{ goal_metrics: 0 }, "goal_metrics is 0, and variations 2"],
  [{ target: 1 }, 'options has the field "target"'],
])("bad input: %j", async (options, message) => {
  const error = await database.rejects("select experiment.midexperiment_power($1, $2, $3)", [
    JSON.stringify(control),
    JSON.stringify(treatment),
    JSON.stringify(options),
  ]);
  expect(error).toMatchObject({ code: "CF001" });
  expect(error.message).toContain(message);
});
