import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

test("removes names from the list, and reverses allow_properties", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [message()]);
    await db.query("select track.allow_properties('Task Submitted', '{score,attempt}')");
    expect(await db.value("select track.disallow_properties('Task Submitted', '{attempt,unknown}')")).toEqual([
      "score",
    ]);
    await ingest(db, [message({ properties: { score: 1, attempt: 2 } })]);
    expect(await db.value("select properties from track.event where properties is not null")).toEqual({ score: 1 });
    expect(await db.value("select track.disallow_properties('Task Submitted', '{score}')")).toEqual([]);
    expect(await db.value("select track.disallow_properties('Task Submitted', '{}')")).toEqual([]);
  });
});

test.each([
  ["'Page Viewed', '{a}'", "CF001", 'event "Page Viewed" has no list of allowed properties'],
  ["'Page Veiwed', '{a}'", "CF002", 'there is no event "Page Veiwed"'],
  ["'Page Viewed', null", "CF001", "properties is null"],
])("disallow_properties(%s) is %s", async (values, code, message) => {
  expect(await database.rejects(`select track.disallow_properties(${values})`)).toMatchObject({ code, message });
});

test("is for administrators", async () => {
  expect(await rolesThatMay(database, "select track.disallow_properties('Page Viewed', '{}')")).toEqual(["admin"]);
});
