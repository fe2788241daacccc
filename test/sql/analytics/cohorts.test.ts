import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { define, did, happen } from "./people.ts";

const database = await testDatabase();
await happen(
  database,
  ...Array.from({ length: 8 }, (_, index) => did(`p${index}`, index)),
  ...Array.from({ length: 20 }, (_, index) => did("", 1, { userId: undefined, anonymousId: `invented-${index}` })),
);
for (const days of [4, 5, 8]) await define(database, `of_${days}`, { event: "Task Submitted", within: `${days} days` });
await define(database, "none", { trait: "none", is: 1 });
await database.query("select track.set_person_set('cohort.list', array(select track.person_set_members('counted')))");

const sizes = (role: string) =>
  database.as(role, {}, (db) =>
    db.rows("select name, is_live, person_count::int as people from analytics.cohorts() where name like 'cohort.%'"),
  );

test("admins see exact numbers, with people who have not signed in", async () => {
  expect(await sizes("insights_admin")).toEqual([
    { name: "cohort.list", is_live: false, people: 8 },
    { name: "cohort.none", is_live: true, people: 0 },
    { name: "cohort.of_4", is_live: true, people: 24 },
    { name: "cohort.of_5", is_live: true, people: 25 },
    { name: "cohort.of_8", is_live: true, people: 28 },
  ]);
});

test("analysts see rounded numbers of counted people, and the same for none and too few", async () => {
  expect(await sizes("insights_analyst")).toEqual([
    { name: "cohort.list", is_live: false, people: 10 },
    { name: "cohort.none", is_live: true, people: 0 },
    { name: "cohort.of_4", is_live: true, people: 0 },
    { name: "cohort.of_5", is_live: true, people: 5 },
    { name: "cohort.of_8", is_live: true, people: 10 },
  ]);
});

test("the number of a cohort is the number of people of a trend", async () => {
  await database.as("postgres", {}, async (db) => {
    const trend =
      "select sum(person_count)::int from analytics.trend('Task Submitted', 'year', now() - interval '1 day', among => 'cohort.of_5')";
    expect(await db.value(trend)).toBe(25);
    await db.query("select track.exclude_person('p0', 'staff')");
    expect(await db.value(trend)).toBe(24);
    expect(await db.value("select person_count::int from analytics.cohorts() where name = 'cohort.of_5'")).toBe(24);
  });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.cohorts()")).toEqual(["analyst", "admin", "worker"]);
});
