import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeWorld } from "../../support/world.ts";

const database = await testDatabase();
await makeWorld(database);
await database.query("select track.set_person_set('cohort.ten', '{1}')");
await database.query(`update track.item set attributes = '{"subject": "maths"}' where external_id = 'course-algebra'`);

test("stores a rule in place of the one with its name, with its items in order, and logs who did it", async () => {
  await database.as("insights_admin", { "insights.person": "root" }, async (db) => {
    await db.query(
      "select recommend.set_rule('spring', 'pin', items => '{course-poetry,course-drama,course-poetry}', place => 2)",
    );
    const items = () =>
      db.rows(
        "select external_id as item, position from recommend.rule_item join track.item using (item_id) where name = 'spring' order by 2",
      );
    expect(await items()).toEqual([
      { item: "course-poetry", position: 1 },
      { item: "course-drama", position: 2 },
    ]);
    const stored = await db.value(
      `select to_jsonb(recommend.set_rule('spring', 'boost', attribute => 'subject', attribute_value => 'maths', amount => 0.5,
         kind => 'course', language => 'DE', person_set => 'cohort.ten', is_outside_set => true,
         active_from => '2026-01-01', active_until => '2026-02-01'))`,
    );
    expect(stored).toMatchObject({
      name: "spring",
      action: "boost",
      has_items: false,
      attribute: "subject",
      attribute_value: "maths",
      amount: 0.5,
      kind: "course",
      language: "de",
      person_set: "cohort.ten",
      is_outside_set: true,
      place: null,
      is_active: true,
    });
    expect(await db.value("select to_jsonb(rule) from recommend.rule where name = 'spring'")).toEqual(stored);
    expect(await items()).toEqual([]);
    await db.query("select recommend.drop_rule('spring')");
    expect(
      await db.rows(
        "select settings ->> 'action' as action, settings -> 'items' as items, actor from recommend.rule_log order by logged_at",
      ),
    ).toEqual([
      { action: "pin", items: ["course-poetry", "course-drama"], actor: "root" },
      { action: "boost", items: null, actor: "root" },
      { action: null, items: null, actor: "root" },
    ]);
  });
});

test("the checks of each list are rules that are there from the beginning, and can be switched off", async () => {
  expect(await database.rows("select name, is_active from recommend.rule order by name")).toEqual([
    { name: "availability", is_active: true },
    { name: "capacity", is_active: true },
    { name: "language", is_active: false },
    { name: "not_again", is_active: false },
    { name: "prerequisites", is_active: true },
    { name: "topic", is_active: true },
  ]);
  await database.as("insights_admin", {}, async (db) => {
    await db.query("select recommend.set_rule('capacity', 'capacity', is_active => false)");
    expect(await db.value("select is_active from recommend.rule where name = 'capacity'")).toBe(false);
  });
});

const invalid: [why: string, call: string, code: string, message: string, hint?: string][] = [
  ["no name", "null, 'exclude'", "CF001", '"null" cannot be the name'],
  ["a name with spaces", "'my rule', 'exclude'", "CF001", '"my rule" cannot be the name'],
  ["a long name", "repeat('x', 101), 'exclude'", "CF001", "cannot be the name"],
  ["the name of a state", "'taken', 'exclude'", "CF001", '"taken" cannot be the name'],
  ["no action", "'x', null", "CF001", "the action is null"],
  ["an action that does not exist", "'x', 'hide'", "CF001", 'the action is "hide"', "exclude"],
  ["an unknown item", "'x', 'exclude', items => '{course-algebre}'", "CF002", '"course-algebre"', "course-algebra"],
  ["a null item", "'x', 'exclude', items => '{null}'", "CF002", "null"],
  [
    "an unknown container",
    "'x', 'exclude', within_item => 'course-dramas'",
    "CF002",
    '"course-dramas"',
    "course-drama",
  ],
  ["no item at all", "'x', 'exclude', items => '{}'", "CF001", "the list of items is empty"],
  ["too many items", "'x', 'exclude', items => array_fill('course-drama'::text, array[1001])", "CF008", "1001"],
  ["a long item", "'x', 'exclude', items => array[repeat('x', 513)]", "CF008", "513"],
  [
    "an unknown set",
    "'x', 'exclude', kind => 'course', person_set => 'cohort.tem'",
    "CF002",
    "cohort.tem",
    "cohort.ten",
  ],
  ["outside of no set", "'x', 'exclude', kind => 'course', is_outside_set => true", "CF001", "person_set"],
  [
    "an unknown attribute",
    "'x', 'exclude', attribute => 'subjet', attribute_value => 'x'",
    "CF002",
    '"subjet"',
    "subject",
  ],
  ["an attribute without a value", "'x', 'exclude', attribute => 'subject'", "CF001", "attribute_value is null"],
  ["a value without an attribute", "'x', 'exclude', attribute_value => 'x'", "CF001", "attribute is null"],
  ["a long attribute", "'x', 'exclude', attribute => repeat('x', 201), attribute_value => 'x'", "CF008", "201"],
  ["an invalid language", "'x', 'exclude', language => 'german language'", "CF001", '"german language"'],
  ["an unknown kind", "'x', 'exclude', kind => 'corse'", "CF002", '"corse"', "course"],
  ["no condition", "'x', 'exclude'", "CF001", "has no condition"],
  ["a boost without an amount", "'x', 'boost', kind => 'course'", "CF001", "amount is null"],
  ["NaN", "'x', 'boost', kind => 'course', amount => 'NaN'", "CF001", "amount is NaN"],
  ["an infinite amount", "'x', 'boost', kind => 'course', amount => '-Infinity'", "CF001", "amount is -Infinity"],
  ["an amount of another action", "'x', 'exclude', kind => 'course', amount => 1", "CF001", "amount is 1"],
  ["a negative place", "'x', 'pin', items => '{course-drama}', place => -1", "CF001", "place is -1"],
  ["a pin without a place", "'x', 'pin', items => '{course-drama}'", "CF001", "place is null"],
  ["a pin without items", "'x', 'pin', place => 1", "CF001", "pins no items"],
  [
    "a pin with conditions",
    "'x', 'pin', items => '{course-drama}', place => 1, language => 'de'",
    "CF001",
    "has conditions",
  ],
  ["a place of another action", "'x', 'exclude', kind => 'course', place => 1", "CF001", "place is 1"],
  ["no period", "'not_again', 'not_again'", "CF001", "period is null"],
  ["a negative period", "'not_again', 'not_again', period => '-1 day'", "CF001", "period is -1 days"],
  ["an endless period", "'not_again', 'not_again', period => '11 years'", "CF001", "period is 11 years"],
  ["a period of another action", "'x', 'exclude', kind => 'course', period => '1 day'", "CF001", "period is 1 day"],
  ["a check with conditions", "'language', 'language', language => 'de'", "CF001", "has conditions"],
  [
    "an end before the beginning",
    "'x', 'exclude', kind => 'course', active_from => '2026-02-01Z', active_until => '2026-01-01Z'",
    "CF001",
    "active_until is 2026-01-01 00:00 UTC",
  ],
];

test.each(invalid)("refuses %s", async (_why, call, code, message, hint = "") => {
  const error = await database.rejects(`select recommend.set_rule(${call})`);
  expect(error.code).toBe(code);
  expect(error.message).toContain(message);
  expect(error.hint ?? "").toContain(hint);
});

test("a set of people that a rule names cannot be dropped", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select recommend.set_rule('x', 'exclude', kind => 'course', person_set => 'cohort.ten')");
    expect(await db.rejects("select track.drop_person_set('cohort.ten')")).toMatchObject({
      code: "23503",
      table: "rule",
    });
  });
});

test("administrators change rules, analysts and workers read them, and learners do neither", async () => {
  expect(await rolesThatMay(database, "select recommend.set_rule('x', 'exclude', kind => 'course')")).toEqual([
    "admin",
  ]);
  expect(await rolesThatMay(database, "select from recommend.rule, recommend.rule_item")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
  expect(await rolesThatMay(database, "select from recommend.rule_log")).toEqual(["admin"]);
  for (const change of [
    "insert into recommend.rule (name, action) values ('x', 'exclude')",
    "delete from recommend.rule",
    "update recommend.rule set is_active = false",
  ]) {
    expect(await rolesThatMay(database, change)).toEqual([]);
  }
});
