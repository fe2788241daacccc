import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { agentOf } from "../../support/statements.ts";

const database = await testDatabase();
const place = JSON.stringify({ kind: "state", activity: "urn:a", agent: agentOf("ada"), id: "x" });
await database.query("select track.store_document($1, '1', 'text/plain')", [place]);

test("is read by its source alone, and with the key of a server", async () => {
  const read = "select content_type, convert_from(contents, 'UTF8') as contents from track.stored_document($1)";
  expect(await database.rows(read, [place])).toEqual([{ content_type: "text/plain", contents: "1" }]);
  await database.as("insights_worker", { "insights.source": "other" }, async (db) => {
    expect(await db.rows(read, [place])).toEqual([{ content_type: null, contents: null }]);
  });
  await database.as("insights_visitor", {}, async (db) => {
    expect(await db.rejects(read, [place])).toMatchObject({
      code: "CF005",
      message: "this key may not read documents",
    });
  });
});
