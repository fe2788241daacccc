import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { define, did, happen } from "./people.ts";

const database = await testDatabase();
await happen(database, did("ada", 1), did("ben", 1));
await define(database, "mine", { event: "Task Submitted" });

test("drops a cohort, its rule and its set", async () => {
  await database.as("postgres", {}, async (db) => {
    await define(db, "fixed", { event: "Task Submitted" }, false);
    for (const name of ["mine", "cohort.fixed"]) await db.query("select analytics.drop_cohort($1)", [name]);
    for (const table of ["analytics.cohort", "track.person_set", "track.person_set_block", "track.person_set_member"])
      expect(await db.value(`select count(*)::int from ${table} where name like 'cohort.%'`), table).toBe(0);
  });
});

test("a cohort that another one names stays", async () => {
  await database.as("postgres", {}, async (db) => {
    await define(db, "other", { not: { set: "cohort.mine" } });
    expect(await db.rejects("select analytics.drop_cohort('mine')")).toMatchObject({
      code: "CF001",
      message: '"cohort.mine" is named by the rule of "cohort.other"',
    });
  });
});

test("a list that a cohort names can be dropped, and is then nobody's", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select track.set_person_set('pilot', array(select track.person_set_members('counted')))");
    await define(db, "pilots", { set: "pilot" });
    await db.query("select track.drop_person_set('pilot')");
    expect(await db.rows("select * from analytics.cohort_people('pilots')")).toEqual([]);
    await db.query("select track.refresh()");
    expect(await db.value("select track.person_set_size('cohort.pilots')::int")).toBe(0);
  });
});

test.each([
  ["min", "CF002"],
  ["segment.power", "CF001"],
  [null, "CF002"],
])("%s is refused", async (name, code) => {
  expect(await database.rejects("select analytics.drop_cohort($1)", [name])).toMatchObject({ code });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select analytics.drop_cohort('mine')")).toEqual(["admin"]);
});
