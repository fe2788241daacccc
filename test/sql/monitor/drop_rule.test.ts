import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("removes a rule", async () => {
  await database.query("select monitor.drop_rule('ingest_rate')");
  expect(await database.rows("select rule from monitor.rule")).toEqual([{ rule: "refused_messages" }]);
});

test("an unknown rule is refused with the nearest name", async () => {
  expect(await database.rejects("select monitor.drop_rule('refused_message')")).toMatchObject({
    code: "CF002",
    message: 'there is no rule "refused_message"',
    hint: 'Did you mean "refused_messages"?',
  });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select monitor.drop_rule('refused_messages')")).toEqual(["admin"]);
});
