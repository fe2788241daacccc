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
    "select rank, person, score, to_jsonb(reasons) as reasons, model_version, as_of from analytics.dropout_risk('known', $1, $2)",
    [asOf, top],
  );

test("those most at risk come first, each with its exact share of the score", async () => {
  const expected = answersOf(predictionsOf("dropout"));
  expect(await ask(50)).toEqual(expected);
  expect(await ask(1)).toEqual(expected.slice(0, 1));
});

test("who objects to analytics is left out, and nobody takes a course in which nobody is enrolled", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select privacy.record_consent(track.find_person('ann'), 'analytics', false, '2025-03-02 00:00Z')");
    expect(await db.rows("select person from analytics.dropout_risk('known', $1)", [asOf])).toEqual([
      { person: "bob" },
    ]);
  });
  expect(await database.rows("select * from analytics.dropout_risk('other', $1)", [asOf])).toEqual([]);
});

test.each([
  ["an unknown course", "select analytics.dropout_risk('knowm')", "CF002"],
  ["a module", "select analytics.dropout_risk('module')", "CF002"],
  ["no time", "select analytics.dropout_risk('known', null)", "CF001"],
  ["the end of time", "select analytics.dropout_risk('known', 'infinity')", "CF001"],
  ["nobody at the top", "select analytics.dropout_risk('known', now(), 0)", "CF001"],
])("%s", async (_, sql, code) => {
  expect(await database.rejects(sql)).toMatchObject({ code });
});

test("instructors see the predictions of their courses, without reasons that tell what a learner does elsewhere", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("create table lab.staff as select 'tess' as person, 'known' as item, 'instructor' as role");
    await db.query("select track.sync_item_roles('lab.staff')");
    await db.query("select ml.import_model('analytics.dropout', 'classification', 'logistic', $1)", [
      {
        intercept: -2,
        coefficients: { days_idle: 0.25, active_days_anywhere_week_1: -0.5 },
        means: { days_idle: 1, active_days_anywhere_week_1: 5 },
      },
    ]);
    await db.query("select ml.deploy('analytics.dropout', 2)");
    const featuresFor = async (role: string, person: string): Promise<string[][]> => {
      await db.query("select set_config('role', $1, true), set_config('insights.person', $2, true)", [role, person]);
      await db.query("select track.sign_in()");
      const rows = await db.rows<{ features: string[] }>(
        "select array(select feature from unnest(reasons) order by 1) as features from analytics.dropout_risk('known', $1)",
        [asOf],
      );
      return rows.map(({ features }) => features);
    };
    const all = ["active_days_anywhere_week_1", "days_idle"];
    expect(await featuresFor("insights_admin", "")).toEqual([all, all]);
    expect(await featuresFor("insights_instructor", "tess")).toEqual([["days_idle"], ["days_idle"]]);
    for (const [person, course] of [
      ["tess", "other"],
      ["ann", "known"],
      ["", "known"],
      ["tess", "nothing"],
    ]) {
      await db.query("select set_config('insights.person', $1, true)", [person]);
      await db.query("select track.sign_in()");
      for (const name of ["dropout_risk", "completion_probability", "expected_next_week_activity"]) {
        expect(await db.rejects(`select * from analytics.${name}($1, $2)`, [course, asOf])).toMatchObject({
          code: "CF002",
          message: `you do not teach a course "${course}"`,
        });
      }
    }
  });
});

test("is for instructors, admins and workers", async () => {
  expect(await rolesThatMay(database, "select analytics.dropout_risk('known')")).toEqual([
    "instructor",
    "admin",
    "worker",
  ]);
});

test("an unknown course is refused with the nearest name, an invalid time or number with the valid values", async () => {
  expect(await database.rejects("select analytics.dropout_risk('knowm')")).toMatchObject({
    message: 'there is no course "knowm"',
    hint: 'Did you mean "known"?',
  });
  expect((await database.rejects("select analytics.dropout_risk('known', null)")).hint).toContain("now()");
  expect(await database.rejects("select analytics.dropout_risk('known', now(), 10001)")).toMatchObject({
    code: "CF001",
    hint: "Give a number from 1 to 10000.",
  });
});
