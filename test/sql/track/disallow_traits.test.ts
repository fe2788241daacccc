import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

test("removes names from the list, and reverses allow_traits", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select track.allow_traits('{plan,locale}')");
    expect(await db.value("select track.disallow_traits('{locale,unknown}')")).toEqual(["plan"]);
    await ingest(db, [message({ type: "identify", event: undefined, traits: { plan: "pro", locale: "de" } })]);
    expect(await db.rows("select name from track.trait")).toEqual([{ name: "plan" }]);
    expect(await db.value("select track.disallow_traits('{plan}')")).toEqual([]);
  });
});

test.each([
  ["'{a}'", "there is no list of allowed traits"],
  ["null", "traits is null"],
])("disallow_traits(%s) is CF001", async (traits, message) => {
  expect(await database.rejects(`select track.disallow_traits(${traits})`)).toMatchObject({ code: "CF001", message });
});

test("is for administrators", async () => {
  expect(await rolesThatMay(database, "select track.disallow_traits('{}')")).toEqual(["admin"]);
});
