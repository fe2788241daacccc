import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();

const bounds = (successes: number, trials: number, z: number | null = 1.959963984540054) =>
  database.value<number[] | null>("select analytics.wilson_bounds($1, $2, $3)", [successes, trials, z]);

test("returns the bounds that Newcombe (1998), table I, method 3, prints", async () => {
  for (const [successes, trials, lower, upper] of [
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ] as const) {
    const [low = Number.NaN, high = Number.NaN] = (await bounds(successes, trials)) ?? [];
    expect(low).toBeCloseTo(lower, 4);
    expect(high).toBeCloseTo(upper, 4);
  }
});

test("has no bounds without trials, and stays within 0 and 1", async () => {
  expect(await bounds(0, 0)).toBeNull();
  expect(await bounds(1, 2, null)).toBeNull();
  expect((await bounds(3, 3))?.[1]).toBeCloseTo(1, 12);
  expect((await bounds(0, 3))?.[0]).toBeCloseTo(0, 12);
});
