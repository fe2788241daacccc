import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { makePeople } from "../../support/people.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { seal } from "./ledger.ts";

const database = await testDatabase();
await makePeople(database);

test("is true for a new record of any kind, and for a ledger without an entry of the last day", async () => {
  await database.as("postgres", {}, async (db) => {
    const needed = () => db.value("select privacy.needs_seal()");
    expect(await needed()).toBe(true);
    await seal(db);
    expect(await needed()).toBe(false);
    for (const sql of [
      "select privacy.record_consent(7, 'analytics', true)",
      "select privacy.publish_text('advertising', '2', 'We count clicks and views.')",
      "select privacy.account_removal('{1}', 'test')",
    ]) {
      await db.query(sql);
      expect(await needed()).toBe(true);
      await db.query("select privacy.seal()");
      expect(await needed()).toBe(false);
    }
    await db.query("update privacy.ledger set sealed_at = sealed_at - interval '25 hours'");
    expect(await needed()).toBe(true);
  });
});

test("is for workers", async () => {
  expect(await rolesThatMay(database, "select privacy.needs_seal()")).toEqual(["worker"]);
});
