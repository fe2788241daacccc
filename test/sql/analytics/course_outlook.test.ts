import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { refresh } from "../track/messages.ts";
import { makeKnownCourse } from "./known-course.ts";
import { asOf, importModels, predictionsOf, type Target } from "./known-models.ts";

const database = await testDatabase();
await makeKnownCourse(database);
await importModels(database);

const outlook = (target: string, floor: number) =>
  database.as("postgres", {}, async (db) => {
    await db.query("update analytics.setting set smallest_group = $1", [floor]);
    return await db.rows("select * from analytics.course_outlook($1, $2)", [target, asOf]);
  });

test.each<Target>(["dropout", "completion", "activity"])("of %s is the mean of its learners", async (target) => {
  const scores = predictionsOf(target).map(({ score }) => score);
  expect(await outlook(target, 2)).toEqual([
    {
      course: "known",
      title: null,
      person_count: "2",
      mean_score: expect.closeTo(scores.reduce((sum, score) => sum + score, 0) / 2, 12),
      lower_quartile: null,
      upper_quartile: null,
    },
  ]);
});

test("is silent about fewer learners than the floor, and about quartiles of fewer than that in a quarter", async () => {
  expect(await outlook("dropout", 3)).toEqual([]);
  await database.query(
    "create table lab.more as select person, 'known' as item, timestamptz '2025-03-01 00:00Z' as enrolled_at from unnest(array['ivy', 'joe']) as person",
  );
  await database.query("select track.sync_enrolments('lab.more')");
  await refresh(database);
  const quartiles = async (floor: number) =>
    (await outlook("dropout", floor)).map(({ person_count, lower_quartile, upper_quartile }) => [
      person_count,
      lower_quartile,
      upper_quartile,
    ]);
  expect(await quartiles(2)).toEqual([["4", null, null]]);
  // Idle for a fortnight; bob for a day less. Of four scores, the quartiles are a quarter of the way in.
  const [bob = 0, ann = 0] = predictionsOf("dropout").map(({ score }) => score);
  const idle = 1 / (1 + Math.exp(-(-2 + 0.25 * 14)));
  expect(await quartiles(1)).toEqual([["4", expect.closeTo(ann + 0.75 * (bob - ann), 12), expect.closeTo(idle, 12)]]);
});

test.each([
  ["an unknown target", "select analytics.course_outlook('luck')", "CF002"],
  ["no time", "select analytics.course_outlook('dropout', null)", "CF001"],
])("%s", async (_, sql, code) => {
  const error = await database.rejects(sql);
  expect(error).toMatchObject({ code });
  expect(error.hint).toBeTruthy();
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select analytics.course_outlook()")).toEqual(["analyst", "admin", "worker"]);
});
