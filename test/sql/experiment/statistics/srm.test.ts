import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";

const database = await testDatabase();

const srm = (users: (number | null)[], weights: number[]): Promise<number> =>
  database.value<number>("select experiment.srm($1, $2)", [users, weights]);

// packages/back-end/test/stats.test.ts of growthbook/growthbook at 8f1db44
test.each<[number[], number[], number]>([
  [[1000, 1200], [0.5, 0.5], 0.000020079],
  [[135, 115], [0.5, 0.5], 0.205903211],
  [[310, 98], [0.75, 0.25], 0.647434186],
  [[1000], [0.5, 0.5], 1],
  [[1000, 900, 800], [1, 0, 0], 1],
  [[1000, 1200, 900], [0.5, 0.5, 0], 0.000020079],
  [[0, 0, 0], [0.34, 0.33, 0.33], 1],
  [[0, 10, 10], [0.34, 0.33, 0.33], 0.005790624],
  [[500, 500, 600], [0.34, 0.33, 0.33], 0.000592638],
  [[500, 500], [0.5, 0.5], 1],
])("GrowthBook's p-value of %j users with the weights %j is %d", async (users, weights, expected) => {
  expect(Number((await srm(users, weights)).toFixed(9))).toBe(expected);
});

describe("by scipy.stats.chi2.sf", () => {
  test("small probabilities keep their digits", async () => {
    expect((await srm([1_000_000, 1_010_000], [1, 1])) / 1.745275146853843e-12).toBeCloseTo(1, 9);
    expect((await srm([100, 300], [1, 1])) / 1.523970604832105e-23).toBeCloseTo(1, 9);
    const tail = (x: number, degrees: number): Promise<number> =>
      database.value<number>("select experiment._chi_squared_tail($1, $2)", [x, degrees]);
    for (const [x, degrees, expected] of tails) expect((await tail(x, degrees)) / expected).toBeCloseTo(1, 9);
    expect(await srm([0, 1e9], [1, 1])).toBe(0);
  });

  const tails: [number, number, number][] = [
    [0.1, 1, 0.7518296340458492],
    [200, 2, 3.7200759760208177e-44],
    [200, 5, 2.8406228986415534e-41],
    [3, 4, 0.5578254003710748],
    [700, 7, 6.896512574090415e-147],
  ];
});

test("the scale of the weights changes nothing", async () => {
  expect(await srm([310, 98, 12], [3, 1, 0.1])).toBeCloseTo(await srm([310, 98, 12], [300, 100, 10]), 12);
  expect(await srm([310, null, 98], [0.5, 0.2, 0.5])).toBe(await srm([310, 98], [1, 1]));
});

test.each<[unknown, unknown]>([
  [null, [1, 1]],
  [[1, 2], null],
  [
    [1, 2, 3],
    [1, 1],
  ],
  [
    [1, -2],
    [1, 1],
  ],
  [
    [1, 2],
    [1, -1],
  ],
  [
    [1, Number.NaN],
    [1, 1],
  ],
  [
    [1, 2],
    [1e-320, 1],
  ],
  [
    [1, 2],
    [1, null],
  ],
  [
    [1, Number.POSITIVE_INFINITY],
    [1, 1],
  ],
  [[[1, 2]], [1, 1]],
])("bad input: %j %j", async (users, weights) => {
  expect(await database.rejects("select experiment.srm($1::float8[], $2::float8[])", [users, weights])).toMatchObject({
    code: "CF001",
  });
});
