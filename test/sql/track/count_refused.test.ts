import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("adds to the counts of a source, which may be new", async () => {
  await database.as("insights_worker", {}, async (db) => {
    await db.query("select track.count_refused('web', 'anonymous', '53400', 7)");
    await db.query("select track.count_refused('web', 'anonymous', '53400', 5)");
    await db.query("select track.count_refused('default', 'anonymous', '53400', 1)");
    expect(await db.rows("select source, level, code, messages from track.refused_messages()")).toEqual([
      { source: "web", level: "anonymous", code: "53400", messages: "12" },
      { source: "default", level: "anonymous", code: "53400", messages: "1" },
    ]);
  });
  expect(await rolesThatMay(database, "select track.count_refused('web', 'anonymous', '53400', 7)")).toEqual([
    "worker",
  ]);
});

test.each(["0", "-1", "null"])("count_refused of %s messages is CF001", async (messages) => {
  expect(await database.rejects(`select track.count_refused('web', 'anonymous', '53400', ${messages})`)).toMatchObject({
    code: "CF001",
  });
});

test.each([
  "'', 'anonymous', '53400'",
  "repeat('x', 101), 'anonymous', '53400'",
  "'web', 'root', '53400'",
  "'web', 'anonymous', 'a code'",
  "null, null, null",
])("count_refused(%s, 1) is CF001", async (values) => {
  expect(await database.rejects(`select track.count_refused(${values}, 1)`)).toMatchObject({ code: "CF001" });
});
