import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { refresh } from "../track/messages.ts";
import { makeKnownCourse } from "./known-course.ts";
import { asOf, importModels, predictionsOf, type Target } from "./known-models.ts";

const database = await testDatabase();
await makeKnownCourse(database);
await importModels(database);

const outlook = (target: string, role = "postgres", floor = 5) =>
  database.as("postgres", {}, async (db) => {
    await db.query("update analytics.setting set smallest_group = $1", [floor]);
    await db.query(`set local role ${role}`);
    return await db.rows("select * from analytics.course_outlook($1, $2)", [target, asOf]);
  });

const quantile = (sorted: number[], share: number): number => {
  const place = share * (sorted.length - 1);
  const [below = 0, above = below] = sorted.slice(Math.floor(place));
  return below + (place % 1) * (above - below);
};

test.each<Target>(["dropout", "completion", "activity"])("of %s is the mean of its learners", async (target) => {
  const scores = predictionsOf(target)
    .map(({ score }) => score)
    .toSorted((a, b) => a - b);
  const exact = [
    {
      course: "known",
      title: null,
      person_count: "2",
      mean_score: expect.closeTo(scores.reduce((sum, score) => sum + score, 0) / 2, 12),
      lower_quartile: expect.closeTo(quantile(scores, 0.25), 12),
      upper_quartile: expect.closeTo(quantile(scores, 0.75), 12),
    },
  ];
  // Whatever the floor of analysts.
  for (const role of ["postgres", "insights_admin", "insights_worker"])
    expect(await outlook(target, role)).toEqual(exact);
});

test("returns to analysts nothing about fewer learners than the floor, and no mean and quartiles about a few more", async () => {
  expect(await outlook("dropout", "insights_analyst", 3)).toEqual([]);
  expect(await outlook("dropout", "insights_analyst", 2)).toEqual([
    { course: "known", title: null, person_count: "2", mean_score: null, lower_quartile: null, upper_quartile: null },
  ]);
  const enrol = async (people: string[]) => {
    await database.query("drop table if exists lab.more");
    await database.query(
      "create table lab.more as select person, 'known' as item, timestamptz '2025-03-01 00:00Z' as enrolled_at from unnest($1::text[]) as person",
      [people],
    );
    await database.query("select track.sync_enrolments('lab.more')");
    await refresh(database);
  };
  await enrol(Array.from({ length: 16 }, (_, number) => `idle-${number}`));
  // Idle for a fortnight; bob for a day less. Most of the eighteen scores are the same.
  const scores = [
    ...predictionsOf("dropout").map(({ score }) => score),
    ...Array.from({ length: 16 }, () => 1 / (1 + Math.exp(-(-2 + 0.25 * 14)))),
  ].toSorted((a, b) => a - b);
  const mean = scores.reduce((sum, score) => sum + score, 0) / 18;
  const analyst = async (floor: number) =>
    (await outlook("dropout", "insights_analyst", floor)).map(({ person_count, mean_score, ...quartiles }) => [
      Number(person_count),
      mean_score,
      quartiles["lower_quartile"],
      quartiles["upper_quartile"],
    ]);
  const rounded = (value: number, floor: number): number => {
    const unit = 2 ** Math.ceil(Math.log2((floor * mean) / 18));
    return Math.floor(value / unit + 0.5) * unit;
  };
  expect(await analyst(1)).toEqual([
    [18, mean, quantile(scores, 0.25), quantile(scores, 0.75)].map((value) => expect.closeTo(value, 12)),
  ]);
  expect(await analyst(4)).toEqual([
    [20, rounded(mean, 4), rounded(quantile(scores, 0.25), 4), rounded(quantile(scores, 0.75), 4)],
  ]);
  expect(await analyst(5)).toEqual([[20, rounded(mean, 5), null, null]]);
  expect(await analyst(12)).toEqual([[24, rounded(mean, 12), null, null]]);
  expect(await analyst(13)).toEqual([[13, null, null, null]]);
  // As of the beginning of the day.
  await database.as("insights_analyst", {}, async (db) => {
    const at = async (time: string) =>
      await db.rows("select * from analytics.course_outlook('activity', $1::timestamptz)", [time]);
    expect(await at("2025-05-20 23:59:59.999Z")).toEqual(await at("2025-05-20 00:00Z"));
  });
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
