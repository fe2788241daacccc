import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";

const database = await testDatabase();
const buckets = 64;

/**
 * Deployments that are read every day for four weeks. A person clicks as often as she does, on a part of the days, in the
 * four weeks before and after; errors are those of sums over buckets of people, as `watch_relevance` computes them.
 * Returns the share of the deployments whose version is ever called worse.
 */
async function alarms(effect: number, deployments: number, seed: number): Promise<number> {
  const next = generator(seed);
  const readings: [number, number, number, number][] = [];
  for (let deployment = 0; deployment < deployments; deployment++) {
    const people = Array.from({ length: 192 }, () => ({ rate: 0.05 + 0.3 * next() ** 2, comes: 0.1 + 0.5 * next() }));
    const clicks = { before: new Float64Array(buckets), since: new Float64Array(buckets) };
    const rows = { before: new Float64Array(buckets), since: new Float64Array(buckets) };
    const live = (period: "before" | "since", factor: number) => {
      for (const [n, { rate, comes }] of people.entries()) {
        if (next() >= comes) continue;
        const bucket = n % buckets;
        for (let row = 0; row < 5; row++) {
          rows[period][bucket] = (rows[period][bucket] ?? 0) + 1;
          if (next() < rate * factor) clicks[period][bucket] = (clicks[period][bucket] ?? 0) + 1;
        }
      }
    };
    const sum = (values: Float64Array) => values.reduce((a, b) => a + b, 0);
    const influence = (period: "before" | "since") => {
      const total = sum(rows[period]);
      const rate = sum(clicks[period]) / total;
      const scale = Math.sqrt(buckets / (buckets - 1)) / total;
      return { rate, parts: [...clicks[period]].map((c, b) => (c - rate * (rows[period][b] ?? 0)) * scale) };
    };
    for (let day = 0; day < 28; day++) live("before", 1);
    const before = influence("before");
    const error = Math.hypot(...before.parts);
    for (let day = 0; day < 28; day++) {
      live("since", 1 + effect);
      const since = influence("since");
      const difference = Math.hypot(...since.parts.map((part, b) => part - (before.parts[b] ?? 0)));
      readings.push([deployment, since.rate - before.rate, difference, error]);
    }
  }
  const called = await database.value<number>(
    `select count(distinct deployment)::int
     from jsonb_to_recordset($1) as reading (deployment int, difference float8, error float8, former float8)
     where monitor.evidence_of_loss(difference, error, former, 0.05) >= 20`,
    [
      JSON.stringify(
        readings.map(([deployment, difference, error, former]) => ({ deployment, difference, error, former })),
      ),
    ],
  );
  return called / deployments;
}

test("a version that is as good is seldom called worse by daily readings, one that is worse nearly always", async () => {
  // 400 deployments: with a probability of 5 %, more than 7.5 % of them would be a rare accident.
  expect(await alarms(0, 400, 1)).toBeLessThan(0.055);
  // A single test at 5 % that is repeated every day would be wrong far more often.
  expect(await alarms(-0.25, 100, 2)).toBeGreaterThan(0.9);
  expect(await alarms(0.25, 100, 3)).toBe(0);
});

test("is the integral of the mixture", async () => {
  // The definition: the mean of the likelihood ratio over half-normal losses, by the midpoint rule.
  const alpha = 0.05;
  for (const [difference, error, former] of [
    [-0.02, 0.01, 0.006],
    [0.01, 0.01, 0.007],
    [-0.05, 0.012, 0.011],
    [0, 0.02, 0.001],
  ] as const) {
    const log = -2 * Math.log(alpha);
    const information = 1 / error ** 2;
    const variance = ((log + Math.log(log + 1)) / (1 / former ** 2)) * 2;
    const steps = 40_000;
    const most = 12 * Math.sqrt(variance);
    let integral = 0;
    for (let step = 0; step < steps; step++) {
      const loss = ((step + 0.5) / steps) * most;
      const density = (2 / Math.sqrt(2 * Math.PI * variance)) * Math.exp(-(loss ** 2) / (2 * variance));
      integral += density * Math.exp(-difference * information * loss - (loss ** 2 * information) / 2);
    }
    const value = await database.value<number>("select monitor.evidence_of_loss($1, $2, $3, $4)", [
      difference,
      error,
      former,
      alpha,
    ]);
    expect(value / ((integral * most) / steps)).toBeCloseTo(1, 5);
  }
});

test("without spread there is 0 evidence, and a huge difference is finite", async () => {
  expect(await database.value("select monitor.evidence_of_loss(-1, 0, 0.1)")).toBe(0);
  expect(await database.value("select monitor.evidence_of_loss(-1, 0.1, null)")).toBeNull();
  expect(await database.value("select monitor.evidence_of_loss(-1e9, 1e-9, 1e-9) < 'infinity'")).toBe(true);
});

test("arguments that cannot be estimates are errors, and extreme ones have a finite answer", async () => {
  for (const bad of ["-1, 1, 1, 0", "-1, 1, 1, 1", "-1, 1, 1, -0.1", "-1, 1, 1, 'NaN'", "-1, 1, 1, 'infinity'"])
    expect(await database.rejects(`select monitor.evidence_of_loss(${bad})`)).toMatchObject({
      code: "CF001",
      message: expect.stringContaining("alpha is"),
    });
  for (const bad of ["'NaN', 1, 1", "1e308, 1, 1", "1, 'NaN', 1", "1, 1, 'infinity'", "'-infinity', 1, 1"])
    expect(await database.rejects(`select monitor.evidence_of_loss(${bad})`)).toMatchObject({
      code: "CF001",
      hint: "Give numbers of at most 1e50.",
    });
  const extremes = ["0", "-0", "5e-324", "1e-50", "-1e-50", "1e50", "-1e50", "1", "-1"];
  for (const difference of extremes)
    for (const error of extremes)
      expect(
        await database.value(
          `select bool_and(monitor.evidence_of_loss($1, $2, former, alpha) between 0 and 1e308)
           from unnest($3::float8[]) as former, unnest('{5e-300,0.05,0.999999}'::float8[]) as alpha`,
          [difference, error, extremes],
        ),
        `${difference}, ${error}`,
      ).toBe(true);
});
