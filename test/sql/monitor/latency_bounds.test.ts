import { expect, test } from "vitest";
import { latencyBounds } from "../../../src/metrics/latencies.ts";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();

test("37 bounds from half a millisecond, each √2 times the one before, as the API has them", async () => {
  const bounds = await database.value<number[]>("select monitor.latency_bounds()");
  expect(bounds).toHaveLength(37);
  expect(bounds[0]).toBe(0.0005);
  expect(bounds[36]).toBe(131.072);
  for (const [index, bound] of bounds.entries()) {
    expect(bound / 0.0005).toBeCloseTo(Math.SQRT2 ** index, 6);
    expect(latencyBounds[index]).toBeCloseTo(bound, 12);
  }
  expect(latencyBounds).toHaveLength(37);
});
