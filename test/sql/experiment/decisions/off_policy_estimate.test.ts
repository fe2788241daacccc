import { beforeAll, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../../support/database.ts";
import { generator } from "../../../support/matrix.ts";
import { send } from "../../../support/recommend.ts";
import { rolesThatMay } from "../../../support/roles.ts";
import { begin, defineMetrics, event, expose } from "./outcomes.ts";

const database = await testDatabase();

beforeAll(() => defineMetrics(database));

const world = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);
interface Estimate {
  policy: string;
  weights: number[];
  people: string;
  mean_weight: number;
  ips: number;
  ips_standard_error: number | null;
  snips: number;
  snips_standard_error: number | null;
  effective_sample_size: number;
}
const estimate = (db: Queries, weights: number[] | null = null) =>
  db.rows<Estimate>("select * from experiment.off_policy_estimate('exp', $1)", [weights]);

/** Exposes people by weights that change after half of the time, with points that depend on the variation and the half. */
async function adaptive(db: Queries, people: number, seed: number) {
  const next = generator(seed);
  const halves = [
    { daysAgo: 8, weights: [0.5, 0.5] },
    { daysAgo: 2, weights: [0.1, 0.9] },
  ];
  await begin(db, { key: "exp", goals: ["points"], weights: [0.5, 0.5] }, 10);
  await db.query(
    `insert into experiment.weighting (experiment_id, since, weights)
     select experiment_id, now() - interval '5 days', '{0.1,0.9}' from experiment.experiment where experiment_key = 'exp'`,
  );
  const rows: { variation: number; probability: number; points: number }[] = [];
  const messages: Record<string, unknown>[] = [];
  for (let n = 0; n < people; n++) {
    const half = halves[n % 2] ?? { daysAgo: 8, weights: [] };
    const variation = next() < (half.weights[0] ?? 0) ? 0 : 1;
    // Later people have more points: the plain means of the variations differ from the true ones.
    const points = Math.floor(10 * next()) + 2 * variation + 20 * (n % 2);
    rows.push({ variation, probability: half.weights[variation] ?? 0, points });
    messages.push(
      event(`p${n}`, "Experiment Viewed", half.daysAgo, { experiment_id: "exp", variation_id: variation }),
      event(`p${n}`, "Points Earned", half.daysAgo - 1, { points }),
    );
  }
  for (let start = 0; start < messages.length; start += 1000) await send(db, messages.slice(start, start + 1000));
  await db.query("select track.refresh(100000)");
  return rows;
}

test("is the mean by inverse probabilities, with the errors of the textbook", () =>
  world(async (db) => {
    const rows = await adaptive(db, 600, 3);
    for (const policy of [
      [1, 0],
      [0, 1],
      [0.5, 0.5],
      [0.25, 0.75],
    ]) {
      const weights = rows.map(({ variation, probability }) => (policy[variation] ?? 0) / probability);
      const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
      const n = rows.length;
      const weighted = rows.map(({ points }, i) => (weights[i] ?? 0) * points);
      const ips = sum(weighted) / n;
      const snips = sum(weighted) / sum(weights);
      const [found, ...others] = await estimate(db, policy);
      expect(others).toEqual([]);
      expect(found).toMatchObject({ policy: "given", weights: policy, people: String(n) });
      expect(found?.mean_weight).toBeCloseTo(sum(weights) / n, 9);
      expect(found?.ips).toBeCloseTo(ips, 9);
      expect(found?.snips).toBeCloseTo(snips, 9);
      expect(found?.ips_standard_error).toBeCloseTo(
        Math.sqrt(sum(weighted.map((value) => (value - ips) ** 2)) / (n - 1) / n),
        9,
      );
      expect(found?.snips_standard_error).toBeCloseTo(
        Math.sqrt((sum(rows.map(({ points }, i) => ((weights[i] ?? 0) * (points - snips)) ** 2)) * n) / (n - 1)) /
          sum(weights),
        9,
      );
      expect(found?.effective_sample_size).toBeCloseTo(sum(weights) ** 2 / sum(weights.map((w) => w * w)), 6);
    }
  }));

test("corrects what the plain means get wrong: the later people had other weights and more points", () =>
  world(async (db) => {
    const rows = await adaptive(db, 4000, 7);
    const found = new Map((await estimate(db)).map((row) => [row.policy, row]));
    expect([...found.keys()]).toEqual(["control", "new", "equal"]);
    // The true means: 4.5 of the draw, 10 of the half, 2 of the variation.
    for (const [policy, truth] of [
      ["control", 14.5],
      ["new", 16.5],
      ["equal", 15.5],
    ] as const) {
      const { snips = 0, snips_standard_error, mean_weight } = found.get(policy) ?? {};
      expect(Math.abs(snips - truth)).toBeLessThan(4 * (snips_standard_error ?? 0));
      expect(mean_weight).toBeGreaterThan(0.8);
      expect(mean_weight).toBeLessThan(1.2);
    }
    const plain = (variation: number) => {
      const own = rows.filter((row) => row.variation === variation);
      return own.reduce((total, { points }) => total + points, 0) / own.length;
    };
    // Of the control only 1 in 6 came late.
    expect(plain(0)).toBeLessThan(11);
  }));

test("without people it has no estimate, and with one no error", () =>
  world(async (db) => {
    await begin(db, { key: "exp" });
    expect(await estimate(db, [0.5, 0.5])).toMatchObject([
      { people: "0", ips: null, snips: null, ips_standard_error: null, effective_sample_size: 0 },
    ]);
    await expose(db, "exp", [{ people: 1, enrolled: 1 }]);
    expect(await estimate(db, [1, 0])).toMatchObject([
      { people: "1", ips: 2, snips: 1, ips_standard_error: null, snips_standard_error: null },
    ]);
  }));

test.each([
  [[1]],
  [[0.5, 0.6]],
  [[1.5, -0.5]],
  [[null, 1]],
  [[0.2, 0.3, 0.5]],
  [[Number.NaN, 0.5]],
  ["[0:1]={0.5,0.5}"],
])("weights %j are refused", (weights) =>
  world(async (db) => {
    await begin(db, { key: "exp" });
    const error = await db.rejects("select * from experiment.off_policy_estimate('exp', $1)", [weights]);
    expect([error.code, error.hint]).toEqual([
      "CF001",
      "Give 2 numbers from 0, one for each variation, whose sum is 1.",
    ]);
  }),
);

test("a draft, an unknown experiment, and a goal other than a mean are refused", () =>
  world(async (db) => {
    const define = (goals: string[], key: string) =>
      db.query("select experiment.define_experiment($1)", [
        JSON.stringify({ key, variations: [{ key: "control" }, { key: "new" }], goals }),
      ]);
    const code = async (key: string) => {
      await db.query("savepoint attempt");
      const error = await db.rejects("select * from experiment.off_policy_estimate($1)", [key]);
      await db.query("rollback to attempt");
      return error.code;
    };
    await define(["enrolled"], "draft");
    expect(await code("draft")).toBe("CF003");
    expect(await code("drafts")).toBe("CF002");
    await db.query(
      "select experiment.define_metric('share', 'ratio', null, 'Share', numerator => 'enrolled', denominator => 'points')",
    );
    await define(["share"], "ratio");
    await db.query("select experiment.start('ratio')");
    expect(await code("ratio")).toBe("CF007");
  }));

test("is for admins and workers", async () => {
  await begin(database, { key: "exp" });
  expect(await rolesThatMay(database, "select experiment.off_policy_estimate('exp')")).toEqual(["admin", "worker"]);
});
