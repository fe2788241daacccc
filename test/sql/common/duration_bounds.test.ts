import { expect, test } from "vitest";
import { latencyBounds } from "../../../src/metrics/latencies.ts";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("are 37, each √2 times the one before, from half a millisecond to 131 seconds", async () => {
  const bounds = await database.value<number[]>("select common.duration_bounds()");
  expect(bounds).toHaveLength(37);
  expect(bounds[0]).toBe(0.0005);
  expect(bounds[36]).toBeCloseTo(131.072, 9);
  for (const [n, bound] of bounds.entries())
    if (n > 0) expect(bound / (bounds[n - 1] ?? 0)).toBeCloseTo(Math.SQRT2, 12);
});

test("are those of the API, to 131.072 seconds", async () => {
  const bounds = await database.value<number[]>("select common.duration_bounds()");
  expect(bounds[36]).toBe(131.072);
  for (const [index, bound] of bounds.entries()) {
    expect(bound / 0.0005).toBeCloseTo(Math.SQRT2 ** index, 6);
    // The same number, so that a duration at a bound is in the same bucket in both.
    expect(latencyBounds[index]).toBe(bound);
  }
  expect(latencyBounds).toHaveLength(37);
});

test("are for those who read durations", async () => {
  expect(await rolesThatMay(database, "select common.duration_bounds()")).toEqual(["admin", "worker"]);
});
