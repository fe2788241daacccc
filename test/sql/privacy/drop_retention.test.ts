import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { applyAll, happened, stored } from "./retention.ts";

const database = await testDatabase();

test("removes a rule and logs what it was; its data is kept from then on", async () => {
  await database.as("postgres", {}, async (db) => {
    await happened(db, { ada: [100] });
    await db.query("select privacy.set_retention('events', '30 days')");
    await db.query("select privacy.set_retention('events', '20 days', 'service')");
    expect(await db.value("select privacy.drop_retention('events')")).toBe(true);
    expect(await db.value("select privacy.drop_retention('events')")).toBe(false);
    expect(await db.rows("select rule from privacy.retention")).toEqual([{ rule: "events/service" }]);
    expect(
      await db.rows("select rule, details ->> 'keep' as keep from privacy.retention_log where action = 'dropped'"),
    ).toEqual([{ rule: "events", keep: "30 days" }]);
    expect(await db.value("select privacy.drop_retention('events', 'service')")).toBe(true);
    expect(await applyAll(db)).toEqual([]);
    expect(await stored(db)).toEqual({ ada: [100] });
  });
});

test("refuses unknown names, and other roles", async () => {
  expect(await database.rejects("select privacy.drop_retention('runs_')")).toMatchObject({
    code: "CF002",
    hint: 'Did you mean "runs"?',
  });
  expect(await database.rejects("select privacy.drop_retention('events', 'x')")).toMatchObject({ code: "CF002" });
  expect(await rolesThatMay(database, "select privacy.drop_retention('events')")).toEqual(["admin"]);
});
