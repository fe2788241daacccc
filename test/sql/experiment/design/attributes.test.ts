import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

test("returns the name by which a client assigns, and the latest traits", async () => {
  await database.query("select track.ingest($1::jsonb)", [
    JSON.stringify([
      {
        type: "identify",
        messageId: "a1",
        userId: "ada",
        traits: { plan: "team", id: "forged", anonymousId: "forged" },
      },
      { type: "identify", messageId: "a2", anonymousId: "browser-2", traits: { language: "de" } },
      { type: "identify", messageId: "a3", anonymousId: "browser-3", userId: "bob" },
    ]),
  ]);
  await database.as("insights_admin", {}, async (db) => {
    const of = (person: string) => db.value("select experiment.attributes($1)", [person]);
    expect(await of("ada")).toEqual({ id: "ada", plan: "team", age: 30, email: "ada@campus.example" });
    expect(await of("browser-2")).toEqual({ anonymousId: "browser-2", language: "de" });
    expect(await of("browser-3")).toEqual({ id: "bob", anonymousId: "browser-3", plan: "free" });
    expect(await of("new-person")).toEqual({ id: "new-person" });
  });
});

test.each([
  ["''", "CF001", "the person is"],
  ["null", "CF001", 'the person is "null"'],
  ["repeat('x', 257)", "CF001", "the person is"],
])("refuses %s", async (call, code, message) => {
  const error = await database.rejects(`select experiment.attributes(${call})`);
  expect([error.code, `${error.message} ${error.hint}`]).toEqual([code, expect.stringContaining(message)]);
});

test("only administrators and workers read the attributes of a person", async () => {
  expect(await rolesThatMay(database, "select experiment.attributes('ada')")).toEqual(["admin", "worker"]);
});
