import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

test("removes the list of an event", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [message()]);
    expect(await db.value("select track.allow_all_properties('Task Submitted')")).toBe(false);
    await db.query("select track.allow_properties('Task Submitted', '{}')");
    await ingest(db, [message({ properties: { secret: 1 } })]);
    expect(await db.value("select track.allow_all_properties('Task Submitted')")).toBe(true);
    await ingest(db, [message({ properties: { secret: 2 } })]);
    expect(await db.rows("select properties from track.event where properties is not null")).toEqual([
      { properties: { secret: 2 } },
    ]);
  });
});

test("needs a known event", async () => {
  for (const name of ["null", "'Page Veiwed'"]) {
    expect(await database.rejects(`select track.allow_all_properties(${name})`)).toMatchObject({ code: "CF002" });
  }
});

test("is for administrators", async () => {
  expect(await rolesThatMay(database, "select track.allow_all_properties('Page Viewed')")).toEqual(["admin"]);
});
