import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { generator } from "../../../support/matrix.ts";

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

describe("over periods with other weights", () => {
  test("one period, or more with the same weights, are those of all users", async () => {
    for (const [users, weights] of [
      [
        [1000, 1200],
        [0.5, 0.5],
      ],
      [
        [310, 98, 12],
        [3, 1, 0.1],
      ],
      [
        [500, 500, 600, 20],
        [0.34, 0.33, 0.33, 0],
      ],
    ] as [number[], number[]][]) {
      const expected = await srm(users, weights);
      const half = users.map((n) => n / 4);
      const rest = users.map((n) => n - n / 4);
      for (const [periods, shares] of [
        [[users], [weights]],
        [
          [half, rest],
          [weights, weights.map((w) => 7 * w)],
        ],
      ]) {
        expect(
          (await database.value<number>("select experiment.srm($1, $2)", [periods, shares])) / expected,
        ).toBeCloseTo(1, 9);
      }
    }
  });

  test("two variations in closed form", async () => {
    // 60 of 100 by 0.5 and 20 of 100 by 0.1: the difference is 20, its variance 25 + 9.
    const p = await database.value<number>("select experiment.srm('{{60,40},{20,80}}', '{{0.5,0.5},{0.1,0.9}}')");
    const whole = await database.value<number>("select 2 * ml.normal_cdf(-20 / sqrt(34))");
    // The difference of both is independent of it, and the smaller p-value counts: 1 - (1 - p)².
    expect(p).toBeCloseTo(1 - (1 - whole) ** 2, 12);
    // Both added up would be compared with 0.3: a variance of 42.
    expect(p).toBeLessThan(await srm([80, 120], [0.3, 0.7]));
  });

  test("opposite errors of two periods do not cancel out", async () => {
    // 100 too many of 1,000 by halves, and 100 too few of 1,000 by two fifths.
    const users = "{{600,400},{300,700}}";
    const p = await database.value<number>(`select experiment.srm('${users}', '{{0.5,0.5},{0.4,0.6}}')`);
    const between = await database.value<number>(
      "select experiment._chi_squared_tail(100 * 100 / 250.0 + 100 * 100 / 240.0, 1)",
    );
    expect(between).toBeLessThan(1e-15);
    expect(p / (between * (2 - between))).toBeCloseTo(1, 9);
    // Added up, they are as expected.
    expect(await srm([900, 1100], [0.45, 0.55])).toBe(1);
    // A variation of three, in every second of many periods.
    const [many, weights] = [
      Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? [70, 30, 50] : [30, 70, 50])),
      Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? [0.34, 0.33, 0.33] : [0.33, 0.34, 0.33])),
    ];
    expect(await database.value<number>("select experiment.srm($1, $2)", [many, weights])).toBeLessThan(1e-12);
  });

  test("many small periods are tested together, with the nominal rate of false positives", async () => {
    const next = generator(31);
    // 150 periods of 0 to 13 people, with a rare variation: in half of them, none is expected.
    const rate = async (count: number, bias: (period: number) => number): Promise<number> => {
      let found = 0;
      for (let run = 0; run < count; run++) {
        const weights = Array.from({ length: 150 }, () => [0.05 + 0.5 * next(), 0]);
        const users = weights.map((pair, period) => {
          pair[1] = 1 - (pair[0] as number);
          const numbers = [0, 0];
          for (let person = Math.floor(14 * next()); person > 0; person--) {
            const arm = next() < (pair[0] as number) + bias(period) ? 0 : 1;
            numbers[arm] = (numbers[arm] as number) + 1;
          }
          return numbers;
        });
        if ((await database.value<number>("select experiment.srm($1, $2)", [users, weights])) < 0.05) found++;
      }
      return found / count;
    };
    // 5 % with a standard error of 0.69 %.
    const wrong = await rate(1000, () => 0);
    expect(wrong).toBeGreaterThan(0.03);
    expect(wrong).toBeLessThan(0.072);
    // The same error in all periods, and one of the other sign in the second half.
    expect(await rate(50, () => 0.08)).toBeGreaterThan(0.9);
    expect(await rate(50, (period) => (period < 75 ? 0.15 : -0.15))).toBeGreaterThan(0.9);
  });

  test("variations that are never drawn together lose a degree of freedom", async () => {
    // Two independent tests: chi-squared of 4 and 1, two degrees of freedom.
    const p = await database.value<number>(
      "select experiment.srm('{{60,40,0,0},{0,0,55,45}}', '{{1,1,0,0},{0,0,1,1}}')",
    );
    expect(p).toBeCloseTo(Math.exp(-5 / 2), 12);
    expect(await database.value<number>("select experiment.srm('{{0,0},{0,0}}', '{{1,1},{1,2}}')")).toBe(1);
    expect(await database.value<number>("select experiment.srm('{{7,0},{0,9}}', '{{1,0},{0,1}}')")).toBe(1);
  });

  /** People of three variations in ten periods, whose weights follow from the outcomes before, as those of a bandit. */
  function bandit(next: () => number, lost: number): [number[][], number[][]] {
    const users: number[][] = [];
    const weights: number[][] = [];
    const [won, seen] = [
      [1, 1, 1],
      [2, 2, 2],
    ];
    for (let period = 0; period < 10; period++) {
      const rates = won.map((n, i) => (n / (seen[i] as number)) ** 4);
      const total = rates.reduce((a, b) => a + b, 0);
      const shares = rates.map((rate) => 0.1 + (0.7 * rate) / total);
      const numbers = [0, 0, 0];
      for (let person = 0; person < 80; person++) {
        const place = next();
        const arm = place < (shares[0] as number) ? 0 : place < (shares[0] as number) + (shares[1] as number) ? 1 : 2;
        seen[arm] = (seen[arm] as number) + 1;
        if (next() < 0.2 + 0.1 * arm) won[arm] = (won[arm] as number) + 1;
        if (arm < 2 || next() >= lost) numbers[arm] = (numbers[arm] as number) + 1;
      }
      users.push(numbers);
      weights.push(shares);
    }
    return [users, weights];
  }

  test("a bandit has the nominal rate of false positives, and lost exposures are found", async () => {
    const next = generator(12);
    const rate = async (lost: number, count: number): Promise<number> => {
      let found = 0;
      for (let run = 0; run < count; run++) {
        const p = await database.value<number>("select experiment.srm($1, $2)", bandit(next, lost));
        if (p < 0.05) found++;
      }
      return found / count;
    };
    // 5 % with a standard error of 0.56 %.
    const wrong = await rate(0, 1500);
    expect(wrong).toBeGreaterThan(0.035);
    expect(wrong).toBeLessThan(0.067);
    expect(await rate(0.3, 100)).toBeGreaterThan(0.9);
  });

  test.each([
    ["{{1,2}}", "{1,1}"],
    ["{1,2}", "{{1,1}}"],
    ["{{1,2},{1,2}}", "{{1,1}}"],
    ["{{1,2,3}}", "{{1,1}}"],
    ["{{1}}", "{{1,1}}"],
    ["{{{1,2}}}", "{{{1,1}}}"],
    ["{}", "{{1,1}}"],
    ["{{1,-2}}", "{{1,1}}"],
    ["{{1,2}}", "{{1,NaN}}"],
    ["{{1,2}}", "{{1,null}}"],
    ["[0:0][1:2]={{1,2}}", "{{1,1}}"],
    [`{${"{1,2},".repeat(250_000)}{1,2}}`, `{${"{1,1},".repeat(250_000)}{1,1}}`],
  ])("other dimensions, lengths and values are refused: %#", async (users, weights) => {
    expect(await database.rejects("select experiment.srm($1, $2)", [users, weights])).toMatchObject({ code: "CF001" });
  });
});
