import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeKnownCourse } from "./known-course.ts";
import { importModels } from "./known-models.ts";

const database = await testDatabase();

const due = () => database.rows("select * from analytics.due_predictions() as target");

test("no training is scheduled without data", async () => {
  expect(await due()).toEqual([]);
});

test("a target is scheduled once its horizon and a week are on record, and enough people may be analysed", async () => {
  await makeKnownCourse(database);
  // The third to the sixteenth of March: two weeks. Five enrolments make 130 looks at most.
  expect(await due()).toEqual([]);
  await database.query("update analytics.prediction_target set fewest_rows = 131");
  expect(await due()).toEqual([]);
  await database.query("update analytics.prediction_target set fewest_rows = 130");
  expect(await due()).toEqual([{ target: "activity" }]);
  await database.query("update analytics.prediction_target set horizon = '8 days' where target = 'activity'");
  expect(await due()).toEqual([]);
  await database.query(
    "update analytics.prediction_target set horizon = '7 days' where target in ('activity', 'dropout')",
  );
  expect(await due()).toEqual([{ target: "activity" }, { target: "dropout" }]);
});

test("a target is scheduled again when its newest version does not include the last complete day", async () => {
  await importModels(database, ["activity"]);
  expect(await due()).toEqual([{ target: "dropout" }]);
  await database.query("update ml.model set trained_at = '2025-03-17 00:00Z'");
  expect(await due()).toEqual([{ target: "dropout" }]);
  await database.query("update ml.model set trained_at = '2025-03-16 23:59Z'");
  expect(await due()).toEqual([{ target: "activity" }, { target: "dropout" }]);
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.due_predictions()")).toEqual(["admin", "worker"]);
});
