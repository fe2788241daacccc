import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { agentOf, statementId } from "../../support/statements.ts";

const database = await testDatabase();
const scope = { kind: "state", activity: "urn:a", agent: agentOf("ada") };
for (const [id, fields] of [
  ["x", {}],
  ["y", { registration: statementId(1) }],
  ["z", { agent: agentOf("ben") }],
] as const)
  await database.query("select track.store_document($1, '1', 'text/plain')", [
    JSON.stringify({ ...scope, ...fields, id }),
  ]);

const list = (place: object, since?: string) =>
  database.value("select track.stored_documents($1, $2)", [JSON.stringify(place), since]);

test("documents of an agent and an activity, by registration and time", async () => {
  expect(await list(scope)).toEqual(["x", "y"]);
  expect(await list({ ...scope, registration: statementId(1) })).toEqual(["y"]);
  const at = await database.value<string>(
    "select updated_at::text from track.client_document where place ->> 'id' = 'x'",
  );
  expect(await list(scope, at)).toEqual(["y"]);
  await database.as("insights_visitor", {}, async (db) => {
    expect(await db.rejects("select track.stored_documents($1)", [JSON.stringify(scope)])).toMatchObject({
      code: "CF005",
    });
  });
});
