import { beforeAll, describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../../support/database.ts";
import { send } from "../../../support/recommend.ts";
import { rolesThatMay } from "../../../support/roles.ts";
import { type Arm, begin, defineMetrics, event, expose } from "./outcomes.ts";

const database = await testDatabase();

beforeAll(() => defineMetrics(database));

const world = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);
interface Weighting {
  weights: number[];
  coverage: number;
  details: { arms: { n: number; sum: number }[] } | null;
}
/** As the worker does. */
const update = async (db: Queries): Promise<Weighting[]> => {
  await db.query("set local role insights_worker");
  const updated = await db.rows<Weighting>("select weights, coverage, details from experiment.update_bandits()");
  await db.query("reset role");
  return updated;
};
const bandit = { key: "exp", bandit: "thompson", is_sticky: true, minimum_weight: 0.05 };
const arms: Arm[] = [
  { people: 200, enrolled: 60 },
  { people: 200, enrolled: 80 },
];

/**
 * The probability that the second share is greater than the first one, with uniform priors, for whole numbers.
 * Source: E. Miller, Formulas for Bayesian A/B testing, 2015.
 */
function chanceOfSecond([first, second]: Arm[]): number {
  if (first === undefined || second === undefined) throw new Error("two arms");
  const logarithms: number[] = [0];
  for (let n = 1; n < 2000; n++) logarithms[n] = (logarithms[n - 1] ?? 0) + Math.log(n);
  /** Of the beta function at whole numbers. */
  const beta = (a: number, b: number) =>
    (logarithms[a - 1] ?? 0) + (logarithms[b - 1] ?? 0) - (logarithms[a + b - 1] ?? 0);
  const [aOne, bOne] = [first.enrolled + 1, first.people - first.enrolled + 1];
  const [aTwo, bTwo] = [second.enrolled + 1, second.people - second.enrolled + 1];
  let sum = 0;
  for (let i = 0; i < aTwo; i++) {
    sum += Math.exp(beta(aOne + i, bOne + bTwo) - Math.log(bTwo + i) - beta(1 + i, bTwo) - beta(aOne, bOne));
  }
  return sum;
}

describe("experiment.update_bandits", () => {
  test("a variation gets the probability that it is the best one, at least the minimum weight", () =>
    world(async (db) => {
      await begin(db, bandit);
      await expose(db, "exp", arms);
      const [weighting, ...others] = await update(db);
      expect(others).toEqual([]);
      const chance = chanceOfSecond(arms);
      expect(chance).toBeGreaterThan(0.95);
      // The weight of the weaker one is raised to the minimum: p = f + (1 - n f) w.
      expect(weighting?.weights[1]).toBeCloseTo(0.05 + 0.9 * chance, 2);
      expect((weighting?.weights[0] ?? 0) + (weighting?.weights[1] ?? 0)).toBeCloseTo(1, 9);
      expect(weighting?.coverage).toBe(1);
      expect(weighting?.details?.arms.map(({ n, sum }) => [n, sum])).toEqual([
        [200, 60],
        [200, 80],
      ]);
      expect(
        await db.rows(
          "select action, after -> 'weights' = to_jsonb($1::float8[]) as is_new from experiment.change order by changed_at desc limit 1",
          [weighting?.weights],
        ),
      ).toEqual([{ action: "weights changed", is_new: true }]);
    }));

  test("not before the interval has passed, and once for each interval", () =>
    world(async (db) => {
      await begin(db, { ...bandit, update_interval: "2 days" }, 1);
      await expose(db, "exp", arms, 0.5);
      expect(await update(db)).toEqual([]);
      await db.query("update experiment.weighting set since = since - interval '1 day 1 second'");
      expect(await update(db)).toHaveLength(1);
      expect(await update(db)).toEqual([]);
    }));

  test("with few people, without people in a variation, or stopped, weights stay, as those of experiments without a bandit", () =>
    world(async (db) => {
      await begin(db, bandit);
      expect(await update(db)).toEqual([]);
      await expose(db, "exp", [{ people: 200, enrolled: 60 }]);
      expect(await update(db)).toEqual([]);
      await expose(db, "exp", [
        { people: 0, enrolled: 0 },
        { people: 99, enrolled: 60 },
      ]);
      expect(await update(db)).toEqual([]);
      await db.query("select experiment.stop('exp', 'End')");
      await begin(db, { key: "plain" });
      await expose(db, "plain", arms);
      expect(await update(db)).toEqual([]);
      expect(await db.value("select count(*)::int from experiment.weighting")).toBe(2);
    }));

  test("one whose values are too large for the statistics does not keep the others from being updated", () =>
    world(async (db) => {
      await begin(db, { ...bandit, key: "large", goals: ["points"], secondary: ["enrolled"], guardrails: null });
      await expose(db, "large", arms);
      await begin(db, bandit);
      await expose(db, "exp", arms);
      await send(
        db,
        [...Array(200).keys()].flatMap((n) =>
          [0, 1].map((variation) =>
            event(`large-${variation}-${n}`, "Points Earned", 1, { points: n === 0 ? 1e300 : n }),
          ),
        ),
      );
      await db.query("select track.refresh(100000)");
      expect(await db.value("select sum(sums[2]) > 1e500 from experiment.day_sum where cardinality(sums) > 0")).toBe(
        true,
      );
      expect(await update(db)).toHaveLength(1);
    }));

  test("exposures have the weight of their time", () =>
    world(async (db) => {
      await begin(db, bandit);
      await expose(db, "exp", arms);
      const [weighting] = await update(db);
      await db.query("update experiment.weighting set since = now() - interval '1 day' where details is not null");
      await expose(
        db,
        "exp",
        arms.map(({ people, enrolled }) => ({ people: people + 50, enrolled })),
        0.5,
      );
      expect(
        await db.rows(
          "select variation, probability, count(*)::int as people from experiment.exposure group by 1, 2 order by 1, 3 desc",
        ),
      ).toEqual([
        { variation: 0, probability: 0.5, people: 200 },
        { variation: 0, probability: weighting?.weights[0], people: 50 },
        { variation: 1, probability: 0.5, people: 200 },
        { variation: 1, probability: weighting?.weights[1], people: 50 },
      ]);
    }));

  test("an erasure leaves the past weights as they were, and the next ones are those without the person", () =>
    world(async (db) => {
      await begin(db, bandit);
      await expose(db, "exp", arms);
      const [first] = await update(db);
      await db.query("select privacy.erase_person('exp-1-0')");
      await db.query("select track.refresh(100000)");
      expect(await db.rows("select weights, details from experiment.weighting where details is not null")).toEqual([
        { weights: first?.weights, details: first?.details },
      ]);
      await db.query("update experiment.weighting set since = since - interval '2 days'");
      const [second] = await update(db);
      expect(second?.details?.arms.map(({ n, sum }) => [n, sum])).toEqual([
        [200, 60],
        [199, 79],
      ]);
    }));

  test("people whose period is not complete do not count", () =>
    world(async (db) => {
      await db.query(
        `select experiment.define_metric('in_a_week', 'proportion', '{Course Enrolled}', 'Enrolled within a week',
           period => '7 days')`,
      );
      await begin(db, { ...bandit, goals: ["in_a_week"] }, 30);
      await expose(db, "exp", arms, 20);
      await expose(
        db,
        "exp",
        arms.map(({ people, enrolled }) => ({ people: people + 300, enrolled })),
        2,
      );
      const [weighting] = await update(db);
      expect(weighting?.details?.arms.map(({ n, sum }) => [n, sum])).toEqual([
        [200, 60],
        [200, 80],
      ]);
    }));

  test("is for admins and workers", async () => {
    expect(await rolesThatMay(database, "select experiment.update_bandits()")).toEqual(["admin", "worker"]);
  });
});
