import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeHistory } from "../recommend/history.ts";

/* Two trainings of the registry, one day after the other. */

const database = await testDatabase();

interface Figures {
  evaluated_at: string;
  version: number;
  deployed_at: string | null;
  k: number;
  person_count: number;
  value: number;
  value_lower: number | null;
  deployed_value: number | null;
  popularity_value: number | null;
}

const series = (metric = "ndcg", role = "insights_analyst"): Promise<Figures[]> =>
  database.as(role, {}, async (db) =>
    (
      await db.rows<{ row: Figures }>("select to_jsonb(r) as row from monitor.offline_relevance(metric => $1) as r", [
        metric,
      ])
    ).map(({ row }) => row),
  );

beforeAll(async () => {
  await makeHistory(database);
  await database.query("update recommend.setting set fewest_test_people = 1");
});

test("without an evaluation there is a hint", async () => {
  expect(await database.rejects("select monitor.offline_relevance()")).toMatchObject({
    code: "CF002",
    message: 'metric is "ndcg", which no evaluation has',
    hint: "There are no results of evaluations yet: train a version.",
  });
});

test("each version has the figures that its training decided by", async () => {
  const trainings: Record<string, number | boolean | null>[] = [];
  for (const seed of [1, 2])
    trainings.push(await database.value("select to_jsonb(recommend.train('course', $1))", [seed]));
  // One that was made for another purpose.
  await database.query("select recommend.evaluate(array['popularity'], 'course')").catch(() => undefined);
  const figures = await series();
  expect(figures.map(({ version }) => version)).toEqual(trainings.map((training) => training["version"]));
  for (const [n, figure] of figures.entries()) {
    expect(figure).toMatchObject({ k: 10, person_count: trainings[n]?.["test_people"] });
    expect(figure.value).toBeCloseTo(Number(trainings[n]?.["ndcg_at_10"]), 12);
    expect(figure.popularity_value).toBeCloseTo(Number(trainings[n]?.["popularity_ndcg_at_10"]), 12);
    expect(figure.deployed_at !== null).toBe(trainings[n]?.["deployed"]);
  }
  // The first had nothing to be compared with; the second is compared with the first, if that was deployed.
  expect(figures[0]?.deployed_value).toBeNull();
  expect(figures[1]?.deployed_value !== null).toBe(trainings[0]?.["deployed"]);
  const [recall] = await series("recall", "insights_admin");
  expect(recall?.value).toBeCloseTo(Number(trainings[0]?.["recall_at_10"]), 12);
});

test("only evaluations of the period", async () => {
  const [first, second] = await series();
  const within = await database.rows<{ version: number }>("select version from monitor.offline_relevance($1, $2)", [
    second?.evaluated_at,
    new Date(Date.now() + 60_000).toISOString(),
  ]);
  expect(within).toEqual([{ version: second?.version }]);
  expect(first?.version).not.toBe(second?.version);
});

test("invalid arguments are refused", async () => {
  expect(await database.rejects("select monitor.offline_relevance(k => 0)")).toMatchObject({ code: "CF001" });
  expect(await database.rejects("select monitor.offline_relevance(kind => 'curse')")).toMatchObject({
    code: "CF002",
    hint: "There are course.",
  });
  await database.as("postgres", {}, async (db) => {
    await db.query("truncate track.item cascade");
    await expect(db.query("select monitor.offline_relevance()")).rejects.toMatchObject({
      hint: "There are no items yet: see track.sync_items.",
    });
  });
  expect(await database.rejects("select monitor.offline_relevance(metric => 'luck')")).toMatchObject({
    code: "CF002",
    hint: expect.stringContaining("ndcg"),
  });
  expect(await rolesThatMay(database, "select monitor.offline_relevance()")).toEqual(["analyst", "admin", "worker"]);
});
