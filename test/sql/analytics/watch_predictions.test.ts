import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";
import { makeKnownCourse } from "./known-course.ts";
import { importModels } from "./known-models.ts";

const database = await testDatabase();
await makeKnownCourse(database);

test("measures nothing where nothing is trained", async () => {
  expect(await database.rows("select * from analytics.watch_predictions()")).toEqual([]);
});

test("measures each model on the latest two weekly snapshots whose outcome is known", async () => {
  await importModels(database, ["dropout", "activity"]);
  // Nobody is looked at in the first week on record.
  await ingest(database, [
    message({ userId: "zoe", timestamp: "2025-02-20T10:00:00Z", properties: { item: "other" } }),
  ]);
  await refresh(database);
  const snapshots = await database.rows<{ days_idle: number; active_days: number; outcome: number }>(
    `select (feature).days_idle, (feature).active_days, outcome
     from analytics.prediction_target as asked,
       analytics._snapshots(asked, array['2025-03-10 00:00Z', '2025-03-03 00:00Z']::timestamptz[])
     where asked.target = 'activity'`,
  );
  expect(snapshots.length).toBeGreaterThan(2);
  const errors = snapshots.map(
    ({ days_idle, active_days, outcome }) => 2 - 0.1 * days_idle + 0.75 * active_days - outcome,
  );
  const rows = await database.rows(
    "select statistic, value, reference, row_count from analytics.watch_predictions('activity')",
  );
  expect(rows).toContainEqual({
    statistic: "metric",
    value: expect.closeTo(Math.sqrt(errors.reduce((sum, error) => sum + error ** 2, 0) / errors.length), 9),
    reference: null,
    row_count: String(snapshots.length),
  });
});

test("takes the targets that have a model, one by one or all", async () => {
  const targets = async (asked: string) =>
    await database.value(
      `select array_agg(distinct project.name order by project.name)
       from analytics.watch_predictions(${asked}) as drift join ml.model using (model_id) join ml.project using (project_id)`,
    );
  expect(await targets("'activity'")).toEqual(["analytics.activity"]);
  expect(await database.rows("select * from analytics.watch_predictions('completion')")).toEqual([]);
  expect(await database.rejects("select * from analytics.watch_predictions('luck')")).toMatchObject({
    code: "CF002",
    hint: "There are activity, completion, dropout.",
  });
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.watch_predictions()")).toEqual(["admin", "worker"]);
});
