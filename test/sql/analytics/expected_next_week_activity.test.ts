import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeKnownCourse } from "./known-course.ts";
import { answersOf, asOf, importModels, predictionsOf } from "./known-models.ts";

const database = await testDatabase();
await makeKnownCourse(database);
await importModels(database);

const ask = (top: number) =>
  database.rows(
    "select rank, person, score, to_jsonb(reasons) as reasons, model_version, as_of from analytics.expected_next_week_activity('known', $1, $2)",
    [asOf, top],
  );

test("those with least to be expected come first, each with its exact share of the score", async () => {
  const expected = answersOf(predictionsOf("activity").toReversed());
  expect(await ask(50)).toEqual(expected);
  expect(await ask(1)).toEqual(expected.slice(0, 1));
});

test("who objects to analytics is left out, and nobody takes a course in which nobody is enrolled", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select privacy.record_consent(track.find_person('ann'), 'analytics', false, '2025-03-02 00:00Z')");
    expect(await db.rows("select person from analytics.expected_next_week_activity('known', $1)", [asOf])).toEqual([
      { person: "bob" },
    ]);
  });
  expect(await database.rows("select * from analytics.expected_next_week_activity('other', $1)", [asOf])).toEqual([]);
});

test.each([
  ["an unknown course", "select analytics.expected_next_week_activity('knowm')", "CF002"],
  ["a module", "select analytics.expected_next_week_activity('module')", "CF002"],
  ["no time", "select analytics.expected_next_week_activity('known', null)", "CF001"],
  ["the end of time", "select analytics.expected_next_week_activity('known', 'infinity')", "CF001"],
  ["nobody at the top", "select analytics.expected_next_week_activity('known', now(), 0)", "CF001"],
])("%s", async (_, sql, code) => {
  expect(await database.rejects(sql)).toMatchObject({ code });
});

test("is for instructors, admins and workers", async () => {
  expect(await rolesThatMay(database, "select analytics.expected_next_week_activity('known')")).toEqual([
    "instructor",
    "admin",
    "worker",
  ]);
});
