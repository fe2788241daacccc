import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeWorld } from "../../support/world.ts";

const database = await testDatabase();
await makeWorld(database);

const problems = (db: Queries) =>
  db.rows<{ rule: string; item: string | null; problem: string }>("select * from recommend.rule_problems()");
const require = (db: Queries, item: string, required: string) =>
  db.query(
    `insert into track.prerequisite (item_id, required_item_id)
     select item.item_id, required.item_id from track.item, track.item as required
     where item.external_id = $1 and required.external_id = $2`,
    [item, required],
  );

test("there is none from the beginning", async () => {
  expect(await problems(database)).toEqual([]);
});

test("names requirements that are ignored: a circle, and one that has ended", async () => {
  await database.as("postgres", {}, async (db) => {
    await require(db, "course-algebra", "course-analysis");
    expect(await problems(db)).toEqual([]);
    await require(db, "course-analysis", "course-poetry");
    await require(db, "course-poetry", "course-algebra");
    await require(db, "course-drama", "course-poetry");
    await db.query(
      "update track.item set available_until = now() - interval '1 day' where external_id = 'course-poetry'",
    );
    const found = await problems(db);
    expect(found.filter(({ problem }) => problem.includes("in turn")).map(({ item }) => item)).toEqual([
      "course-algebra",
      "course-analysis",
      "course-poetry",
    ]);
    expect(found.filter(({ problem }) => problem.includes("has ended")).map(({ item }) => item)).toEqual([
      "course-analysis",
      "course-drama",
    ]);
    expect(new Set(found.map(({ rule }) => rule))).toEqual(new Set(["prerequisites"]));
  });
});

test("names capacities that are not numbers", async () => {
  await database.as("postgres", {}, async (db) => {
    const values = ["many", -1, 1.5, null, 12, "12"];
    for (const value of values) {
      await db.query(
        "update track.item set attributes = jsonb_build_object('capacity', $1::jsonb) where external_id = 'course-drama'",
        [JSON.stringify(value)],
      );
      expect(
        (await problems(db)).map(({ rule, item }) => `${rule} ${item}`),
        String(value),
      ).toEqual(value === 12 || value === "12" ? [] : ["capacity course-drama"]);
    }
  });
});

test("names rules that have no effect, and those that leave nothing in a list", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`update track.item set attributes = '{"level": "one"}' where external_id = 'course-drama'`);
    for (const rule of [
      "'nothing', 'exclude', attribute => 'level', attribute_value => 'two'",
      "'only', 'include', attribute => 'level', attribute_value => 'two'",
      "'over', 'boost', kind => 'course', amount => 1, active_until => now() - interval '1 day'",
      "'everything', 'exclude', kind => 'course'",
      "'fine', 'exclude', items => '{course-drama}'",
      "'off', 'exclude', kind => 'course', is_active => false",
    ]) {
      await db.query(`select recommend.set_rule(${rule})`);
    }
    expect((await problems(db)).map(({ rule, problem }) => `${rule}: ${problem}`)).toEqual([
      'everything: it excludes all items of kind "course": its lists are empty',
      "nothing: no item fulfils its conditions: it has no effect",
      "only: no item fulfils its conditions: its lists are empty unless another rule includes items",
      "over: its period is over: it has no effect",
    ]);
  });
});

test("a rule about all kinds is not said to be about one", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`update track.item set attributes = '{"level": "one"}'`);
    await db.query("select recommend.set_rule('old', 'exclude', attribute => 'level', attribute_value => 'one')");
    expect((await problems(db)).map(({ rule, problem }) => `${rule}: ${problem}`)).toContain(
      "old: it excludes all items: its lists are empty",
    );
  });
});

test("names include rules that leave nothing in the lists of courses, for everyone or a set of people", async () => {
  await database.as("postgres", {}, async (db) => {
    const set = (rule: string) => db.query(`select recommend.set_rule(${rule})`);
    const nothing = 'include and exclude rules leave nothing in the lists of kind "course"';
    const found = async () => (await problems(db)).map(({ rule, problem }) => `${rule}: ${problem}`);
    await db.query(
      `insert into track.item (external_id, kind, title) values ('a page', 'page', 'A page');
       select track.set_person_set('cohort.some', array[1])`,
    );
    // An item of another kind.
    await set("'i', 'include', items => '{a page}'");
    expect(await found()).toEqual([`i: ${nothing}`]);
    await set("'i', 'include', items => '{a page,course-drama}'");
    expect(await found()).toEqual([]);
    await set("'x', 'exclude', items => '{course-drama}', person_set => 'cohort.some'");
    expect(await found()).toEqual([`i: ${nothing} for people of "cohort.some"`]);
    await set("'x', 'exclude', items => '{course-drama}', person_set => 'cohort.some', is_outside_set => true");
    expect(await found()).toEqual([`i: ${nothing} for people outside of "cohort.some"`]);
    await set("'x', 'exclude', items => '{course-drama}'");
    expect(await found()).toEqual([`i: ${nothing}`]);
    // Another rule includes a course that is not excluded.
    await set("'j', 'include', items => '{course-poetry}'");
    expect(await found()).toEqual([]);
    await set("'j', 'include', items => '{course-poetry}', person_set => 'cohort.some'");
    expect(await found()).toEqual([`i: ${nothing}`]);
    await set("'i', 'include', kind => 'page', items => '{a page}'");
    expect(await found()).toEqual([]);
  });
});

test("is for analysts, administrators and workers", async () => {
  expect(await rolesThatMay(database, "select recommend.rule_problems()")).toEqual(["analyst", "admin", "worker"]);
});
