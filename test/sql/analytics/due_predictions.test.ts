import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeKnownCourse } from "./known-course.ts";
import { importModels } from "./known-models.ts";

const database = await testDatabase();

const due = () => database.rows("select * from analytics.due_predictions() as question");

test("nothing is due where nothing is known", async () => {
  expect(await due()).toEqual([]);
});

test("a question is due once its horizon and a week are on record, and enough people may be looked at", async () => {
  await makeKnownCourse(database);
  // The third to the sixteenth of March: two weeks. Five enrolments make 130 looks at most.
  expect(await due()).toEqual([]);
  await database.query("update analytics.question set fewest_rows = 131");
  expect(await due()).toEqual([]);
  await database.query("update analytics.question set fewest_rows = 130");
  expect(await due()).toEqual([{ question: "activity" }]);
  await database.query("update analytics.question set horizon = '8 days' where question = 'activity'");
  expect(await due()).toEqual([]);
  await database.query("update analytics.question set horizon = '7 days' where question in ('activity', 'dropout')");
  expect(await due()).toEqual([{ question: "activity" }, { question: "dropout" }]);
});

test("a question is due again when its newest version does not know the last complete day", async () => {
  await importModels(database, ["activity"]);
  expect(await due()).toEqual([{ question: "dropout" }]);
  await database.query("update ml.model set trained_at = '2025-03-17 00:00Z'");
  expect(await due()).toEqual([{ question: "dropout" }]);
  await database.query("update ml.model set trained_at = '2025-03-16 23:59Z'");
  expect(await due()).toEqual([{ question: "activity" }, { question: "dropout" }]);
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.due_predictions()")).toEqual(["admin", "worker"]);
});
