import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { refresh } from "../track/messages.ts";
import { makeKnownCourse } from "./known-course.ts";
import { asOf, importModels, predictionsOf } from "./known-models.ts";
import { define, did, happen, peopleOf } from "./people.ts";

const database = await testDatabase();
await makeKnownCourse(database);
await importModels(database);
await happen(database, did("p1", 1, { properties: { item: "school", itemKind: "course" } }));
await happen(
  database,
  ...[1, 6, 7, 8, 9, 30].map((days) => did(`p${days}`, days)),
  did("p30", 8, { event: "Other", properties: { item: "lesson", itemKind: "page", parent: "school" } }),
);
await define(database, "week", { event: "Task Submitted", within: "7 days" });

test("as days pass, those whose last event is older leave: only people of these days are computed", async () => {
  await database.as("postgres", {}, async (db) => {
    // As of the day before yesterday, the window had two more days.
    await db.query("update analytics.cohort set as_of = as_of - 2");
    await db.query("select track.rebuild('analytics.cohort')");
    await refresh(db);
    expect(await peopleOf(db, "week")).toEqual(["p1", "p6", "p7", "p8"]);
    await db.query("delete from analytics.cohort where name like 'segment.%'");
    expect(await db.value("select analytics.refresh_cohorts()")).toBe(2);
    // At once, and after the refresh.
    expect(await peopleOf(db, "week")).toEqual(["p1", "p6"]);
    expect(await db.value("select count(distinct person_id)::int from track.changed")).toBe(2);
    await refresh(db);
    expect(await peopleOf(db, "week")).toEqual(["p1", "p6"]);
    expect(await db.value("select track.person_set_size('cohort.week')::int")).toBe(2);
  });
});

test("a second call on the same day does nothing", async () => {
  await database.as("insights_worker", {}, async (db) => {
    await db.query("select analytics.refresh_cohorts()");
    expect(await db.value("select analytics.refresh_cohorts()")).toBe(0);
  });
});

test("a name that means something else is applied", async () => {
  await database.as("postgres", {}, async (db) => {
    await define(db, "other", { event: "Other" });
    expect(await define(db, "inside", { event: null, item: "school" })).toBe(2);
    await db.query("select track.merge_events('Other', 'Task Submitted')");
    await db.query("update track.item set parent_item_id = null where external_id = 'lesson'");
    while ((await db.rows("select from track.refresh()")).length > 0);
    await db.query("select analytics.refresh_cohorts()");
    expect((await peopleOf(db, "other")).filter((name) => name.startsWith("p"))).toEqual([
      "p1",
      "p30",
      "p6",
      "p7",
      "p8",
      "p9",
    ]);
    expect(await peopleOf(db, "inside")).toEqual(["p1"]);
  });
});

test("predictions are listed as of the beginning of a day", async () => {
  const scores = predictionsOf("dropout");
  const above = scores.map(({ score }) => score).toSorted((a, b) => a - b)[0] ?? 0;
  const rule = {
    any: [
      { prediction: "dropout", course: "known", above },
      { prediction: "dropout", below: 0 },
    ],
  };
  await database.as("postgres", {}, async (db) => {
    await db.query("select analytics._list_predicted($1, $2::timestamptz::date)", [JSON.stringify(rule), asOf]);
    const sets = await db.rows<{ name: string }>("select name from track.person_set where name like 'prediction.%'");
    expect(sets.length).toBe(2);
    const people = await db.rows(
      `select external_id as person from track.person_set cross join track.person_set_members(person_set.name) as member
       join track.identity on identity_id = member where person_set.name like 'prediction.%' order by 1`,
    );
    expect(people).toEqual(
      scores
        .filter(({ score }) => score > above)
        .map(({ person }) => ({ person }))
        .toSorted((a, b) => a.person.localeCompare(b.person)),
    );
    expect(people.length).toBeGreaterThan(0);

    // A cohort is as of today, when nobody takes the course any more. Lists that no cohort names are removed.
    await define(db, "likely", rule);
    expect(await peopleOf(db, "likely")).toEqual([]);
    expect((await db.rows("select name from track.person_set where name like 'prediction.%'")).length).toBe(2);
    await db.query("update analytics.cohort set as_of = as_of - 1");
    await db.query("select analytics.refresh_cohorts()");
    await db.query("select analytics.drop_cohort('likely')");
    expect(await db.rows("select name from track.person_set where name like 'prediction.%'")).toEqual([]);
  });
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select analytics.refresh_cohorts()")).toEqual(["admin", "worker"]);
});
