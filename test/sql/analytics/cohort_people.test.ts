import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { define, did, happen, peopleOf } from "./people.ts";

const database = await testDatabase();
await happen(
  database,
  did("ada", 1),
  did("ben", 1),
  did("eve", 70),
  did("", 1, { userId: undefined, anonymousId: "browser" }),
);
await define(database, "mine", { event: "Task Submitted", within: "7 days" });

test("returns the people with their names, browsers too", async () => {
  expect(await peopleOf(database, "mine")).toEqual(["ada", "ben", "browser"]);
  expect(await peopleOf(database, "cohort.mine")).toEqual(["ada", "ben", "browser"]);
  expect(await peopleOf(database, "segment.dormant")).toEqual(["eve"]);
});

test("leaves out excluded people, as the sizes do", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select track.exclude_person('ada', 'staff')");
    expect(await peopleOf(db, "mine")).toEqual(["ben", "browser"]);
    expect(await db.value("select person_count::int from analytics.cohorts() where name = 'cohort.mine'")).toBe(2);
  });
});

test("an unknown cohort is refused with the nearest name", async () => {
  expect(await database.rejects("select analytics.cohort_people('min')")).toMatchObject({
    code: "CF002",
    hint: 'Did you mean "cohort.mine"?',
  });
});

test("is for admins and workers; nobody else reads people or rules", async () => {
  expect(await rolesThatMay(database, "select analytics.cohort_people('mine')")).toEqual(["admin", "worker"]);
  expect(await rolesThatMay(database, "select * from analytics.cohort")).toEqual(["admin", "worker"]);
  expect(await rolesThatMay(database, "update analytics.cohort set rule = '{}'")).toEqual([]);
  expect(await rolesThatMay(database, "select analytics.cohort_members('cohort.mine', '{1}')")).toEqual([]);
});
