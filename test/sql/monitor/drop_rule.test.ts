import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("removes a rule", async () => {
  const rules = () => database.rows<{ rule: string }>("select rule from monitor.rule order by rule");
  const before = await rules();
  expect(before).toContainEqual({ rule: "ingest_rate" });
  await database.query("select monitor.drop_rule('ingest_rate')");
  expect(await rules()).toEqual(before.filter(({ rule }) => rule !== "ingest_rate"));
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
