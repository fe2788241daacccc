import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../../support/database.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("insights_admin", {}, work);

interface Challenged {
  version: number;
  deployed: boolean;
  outcome: string;
  value: number | null;
  champion_version: number | null;
  champion_value: number | null;
}

/** Registers a version with its metrics and lets it challenge the deployed one. */
async function challenge(db: Queries, metrics: object, options = "baseline => 'popular'"): Promise<Challenged> {
  const version = await db.value(
    `select ml.register_model('lab.next', 'recommendation', 'ease', null, $1, metric => 'ndcg_at_10')`,
    [JSON.stringify(metrics)],
  );
  const [row] = await db.rows<Challenged>(
    `select version, deployed, outcome, value, champion_version, champion_value from ml.challenge_by_metrics('lab.next', $1, ${options})`,
    [version],
  );
  if (row === undefined) throw new Error("no row");
  return row;
}
const deployed = (db: Queries) => db.value<number>("select ml.deployed_version('lab.next')");

describe("a version that was measured where it was trained", () => {
  test("is deployed when it is the first, or better, and both are recorded", async () => {
    await inside(async (db) => {
      expect(await challenge(db, { ndcg_at_10: 0.2, row_count: 50 })).toMatchObject({
        outcome: "first",
        deployed: true,
      });
      expect(await challenge(db, { ndcg_at_10: 0.3, row_count: 60 })).toEqual({
        version: 2,
        deployed: true,
        outcome: "better",
        value: 0.3,
        champion_version: 1,
        champion_value: 0.2,
      });
      expect(await db.rows("select strategy from ml.deployment order by deployment_id")).toEqual([
        { strategy: "first" },
        { strategy: "better" },
      ]);
      expect(
        await db.rows(
          "select challenger_value, champion_value, row_count::int, outcome from ml.comparison order by comparison_id",
        ),
      ).toEqual([
        { challenger_value: 0.2, champion_value: null, row_count: 50, outcome: "first" },
        { challenger_value: 0.3, champion_value: 0.2, row_count: 60, outcome: "better" },
      ]);
    });
  });

  test.each([
    // The error of the difference is 0.05: 0.1 is within two of them.
    [0.41, true, "equal"],
    [0.39, false, "worse"],
  ])("is deployed as the newest unless it is worse by more than chance: %s", async (value, deploys, outcome) => {
    await inside(async (db) => {
      await challenge(db, { ndcg_at_10: 0.5, ndcg_at_10_standard_error: 0.03 });
      expect(await challenge(db, { ndcg_at_10: value, ndcg_at_10_standard_error: 0.04 })).toMatchObject({
        deployed: deploys,
        outcome,
      });
      expect(await deployed(db)).toBe(deploys ? 2 : 1);
      if (deploys)
        expect(await db.value("select strategy from ml.deployment order by deployment_id desc limit 1")).toBe("newest");
    });
  });

  test("is held against the deployed one in proportion to the baseline on the rows of each", async () => {
    await inside(async (db) => {
      await challenge(db, { ndcg_at_10: 0.5, popular: 0.4 });
      // On rows that are twice as hard, half of it is as good.
      expect(await challenge(db, { ndcg_at_10: 0.3, popular: 0.2 })).toMatchObject({
        outcome: "better",
        champion_value: 0.25,
      });
      expect(await challenge(db, { ndcg_at_10: 0.29, popular: 0.2 })).toMatchObject({
        outcome: "worse",
        deployed: false,
      });
      // Without the baseline the figures are compared as they are.
      expect(await challenge(db, { ndcg_at_10: 0.31, popular: 0.01 }, "null")).toMatchObject({
        outcome: "better",
        champion_value: 0.3,
      });
      // Of a baseline of nothing no proportion can be taken.
      await db.query("select ml.deploy('lab.next', 1)");
      expect(await challenge(db, { ndcg_at_10: 0.51 })).toMatchObject({ champion_value: 0.5, outcome: "better" });
      expect(await challenge(db, { ndcg_at_10: 0.1, popular: 0.1 })).toMatchObject({ champion_value: 0.51 });
    });
  });

  test("is deployed where there is nothing to compare, and it has the metric", async () => {
    await inside(async (db) => {
      expect(await challenge(db, {})).toMatchObject({ deployed: false, value: null });
      expect(await challenge(db, {})).toMatchObject({ deployed: false, value: null });
      expect(await challenge(db, { ndcg_at_10: 0.1 })).toMatchObject({ outcome: "first", deployed: true });
      expect(await challenge(db, {})).toMatchObject({ deployed: false, value: null });
    });
  });

  test("by a metric of which less is better", async () => {
    await inside(async (db) => {
      const register = (error: number) =>
        db.value(
          `select ml.register_model('lab.error', 'regression', 'own', '{"kind": "linear", "link": "identity", "intercept": 1, "features": []}', $1)`,
          [JSON.stringify({ root_mean_squared_error: error })],
        );
      for (const [error, outcome] of [
        [3, "first"],
        [2, "better"],
        [4, "worse"],
      ] as const)
        expect(
          await db.value("select (ml.challenge_by_metrics('lab.error', $1)).outcome", [await register(error)]),
        ).toBe(outcome);
    });
  });
});

test("registers recommenders without a document, and nothing else so", async () => {
  await inside(async (db) => {
    const register = (task: string, document: string | null, metric: string | null = null) =>
      db.rejects("select ml.register_model('lab.x', $1, 'own', $2, metric => $3)", [task, document, metric]);
    expect(await register("regression", null)).toMatchObject({ code: "CF009" });
    expect(await register("recommendation", "{}")).toMatchObject({ code: "CF009" });
    expect(await register("recommendations", null)).toMatchObject({ code: "CF001" });
    expect(await register("recommendation", null, "ndcg")).toMatchObject({ code: "CF001" });
    await db.query("select ml.register_model('lab.next', 'recommendation', 'own', null)");
    await db.query("select ml.deploy('lab.next', 1)");
    for (const call of ["ml.predict('lab.next', '{}')", "ml.predict_each('lab.next', array[]::track.refreshed[])"])
      expect((await db.rejects(`select ${call}`)).message).toContain("answers elsewhere");
  });
});

test.each([
  ["'lab.next', null", "CF001"],
  ["'lab.next', 1, standard_errors => -1", "CF001"],
  ["'lab.next', 1, standard_errors => 'NaN'", "CF001"],
  ["'lab.next', 1, standard_errors => null", "CF001"],
  ["'lab.next', 9", "CF002"],
  ["'lab.nxt', 1", "CF002"],
])("refuses (%s) with %s", async (values, code) => {
  await inside(async (db) => {
    await db.query("select ml.register_model('lab.next', 'recommendation', 'own', null)");
    expect(await db.rejects(`select ml.challenge_by_metrics(${values})`)).toMatchObject({ code });
  });
});

test("analysts may not", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    expect(await db.rejects("select ml.challenge_by_metrics('lab.next', 1)")).toMatchObject({ code: "42501" });
  });
});
