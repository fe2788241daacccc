import { beforeEach, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { agentOf, statementId } from "../../support/statements.ts";

const database = await testDatabase();
const scope = { kind: "state", activity: "urn:a", agent: agentOf("ada") };
beforeEach(async () => {
  await database.query("truncate track.client_document");
  for (const [id, fields] of [
    ["x", {}],
    ["y", { registration: statementId(1) }],
    ["z", { agent: agentOf("ben") }],
  ] as const)
    await database.query("select track.store_document($1, '1', 'text/plain')", [
      JSON.stringify({ ...scope, ...fields, id }),
    ]);
});
const remove = (place: object, match = "") =>
  database.value("select track.delete_documents($1, $2)", [JSON.stringify(place), match]);

test("one, those of a registration, and all of an agent and an activity", async () => {
  expect(await remove({ ...scope, id: "x" })).toBe(1);
  expect(await remove({ ...scope, id: "x" })).toBe(0);
  expect(await remove({ ...scope, registration: statementId(2) })).toBe(0);
  expect(await remove(scope)).toBe(1);
  expect(await database.value("select place ->> 'id' from track.client_document")).toBe("z");
});

test("under a condition, and by servers only", async () => {
  expect(
    await database.rejects("select track.delete_documents($1, '\"other\"')", [JSON.stringify({ ...scope, id: "x" })]),
  ).toMatchObject({ code: "CF010" });
  await database.as("insights_visitor", {}, async (db) => {
    expect(await db.rejects("select track.delete_documents($1)", [JSON.stringify(scope)])).toMatchObject({
      code: "CF005",
    });
  });
});
