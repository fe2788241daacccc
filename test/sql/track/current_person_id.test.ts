import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { roles, rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";
import { identify } from "./names.ts";

const database = await testDatabase();
await ingest(database, [message({ userId: "ada" }), identify("browser", "ada"), message({ userId: "ben" })]);

const current = (name: string): Promise<string | null> =>
  database.as("insights_learner", { "insights.person": name }, (db) => db.value("select track.current_person_id()"));

test("is the person of the userId that the setting names", async () => {
  for (const name of ["ada", "ben"]) {
    expect(await current(name)).toBe(await database.value("select track.find_person($1)", [name]));
  }
  // The person after a concurrent merge.
  await database.query("select track.link_identities('ada', 'ben')");
  expect(await current("ben")).toBe(await current("ada"));
  await database.query("select track.unlink_identities('ada', 'ben')");
  expect(await current("ben")).not.toBe(await current("ada"));
});

test("is null for an unknown person, for an anonymousId, and without a setting", async () => {
  for (const name of ["ghost", "browser", "", "' or true --"]) expect(await current(name)).toBeNull();
  await database.as("insights_learner", {}, async (db) =>
    expect(await db.value("select track.current_person_id()")).toBeNull(),
  );
});

test("does not trust the key that the row policies compare with", async () => {
  const ben = await database.value<string>("select track.find_person('ben')");
  await database.as("insights_learner", { "insights.person": "ada", "insights.person_id": ben }, async (db) =>
    expect(await db.value("select track.current_person_id()")).toBe(await db.value("select track.find_person('ada')")),
  );
});

test("is for all roles: it returns only the caller's own key", async () => {
  expect(await rolesThatMay(database, "select track.current_person_id()")).toEqual([...roles]);
});
