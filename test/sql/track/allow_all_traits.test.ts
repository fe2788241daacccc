import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

test("removes the list", async () => {
  await database.as("postgres", {}, async (db) => {
    expect(await db.value("select track.allow_all_traits()")).toBe(false);
    await db.query("select track.allow_traits('{}')");
    await ingest(db, [message({ type: "identify", event: undefined, traits: { plan: "pro" } })]);
    expect(await db.value("select track.allow_all_traits()")).toBe(true);
    await ingest(db, [message({ type: "identify", event: undefined, traits: { city: "Bern" } })]);
    expect(await db.rows("select name from track.trait")).toEqual([{ name: "city" }]);
  });
});

test("is for administrators", async () => {
  expect(await rolesThatMay(database, "select track.allow_all_traits()")).toEqual(["admin"]);
});
