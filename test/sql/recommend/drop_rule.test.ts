import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeWorld } from "../../support/world.ts";

const database = await testDatabase();
await makeWorld(database);

test("removes a rule with its items, and logs it", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query("select recommend.set_rule('spring', 'exclude', items => '{course-drama}')");
    await db.query("select recommend.drop_rule('spring')");
    expect(await db.rows("select from recommend.rule where name = 'spring'")).toEqual([]);
    expect(await db.rows("select from recommend.rule_item")).toEqual([]);
    expect(
      await db.rows("select name, settings is null as is_dropped from recommend.rule_log order by logged_at"),
    ).toEqual([
      { name: "spring", is_dropped: false },
      { name: "spring", is_dropped: true },
    ]);
  });
});

test("names the nearest rule for one that does not exist", async () => {
  expect(await database.rejects("select recommend.drop_rule('avialability')")).toMatchObject({
    code: "CF002",
    message: 'there is no rule "avialability"',
    hint: 'Did you mean "availability"?',
  });
  expect(await database.rejects("select recommend.drop_rule(null)")).toMatchObject({ code: "CF002" });
});

test("is for administrators", async () => {
  expect(await rolesThatMay(database, "select recommend.drop_rule('language')")).toEqual(["admin"]);
});
