import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { roles, rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();
await ingest(database, [message({ userId: "ada" }), message({ userId: "ben" })]);

const key = "select nullif(current_setting('insights.person_id', true), '')::bigint as key";
const own = "select distinct person_id from track.event";

test("sets the key that the row policies compare with, for the rest of the transaction", async () => {
  const ada = await database.value<string>("select track.find_person('ada')");
  await database.as("insights_learner", {}, async (db) => {
    expect(await db.rows(own)).toEqual([]);
    await db.query("select set_config('insights.person', 'ada', true)");
    // Naming a person is not enough.
    expect(await db.rows(own)).toEqual([]);
    expect(await db.value("select track.sign_in()")).toBe(ada);
    expect(await db.value(key)).toBe(ada);
    expect(await db.rows(own)).toEqual([{ person_id: ada }]);
  });
  expect(await database.value(key)).toBeNull();
});

test("an unknown person who signs in after another sees none of their rows", async () => {
  for (const name of ["ghost", ""]) {
    await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
      expect(await db.rows(own)).toHaveLength(1);
      await db.query("select set_config('insights.person', $1, true)", [name]);
      expect(await db.value("select track.sign_in()")).toBeNull();
      expect(await db.value(key)).toBeNull();
      expect(await db.rows(own)).toEqual([]);
    });
  }
});

test("a transaction keeps the person that it began with when names are linked meanwhile", async () => {
  await database.as("postgres", { "insights.person": "ben" }, async (db) => {
    const before = await db.value(key);
    await db.query("select track.link_identities('ada', 'ben')");
    expect(await db.value(key)).toBe(before);
    expect(await db.value("select track.sign_in()")).toBe(await db.value("select track.find_person('ada')"));
    expect(await db.value(key)).not.toBe(before);
  });
});

test("is for all roles", async () => {
  expect(await rolesThatMay(database, "select track.sign_in()", { "insights.person": "ada" })).toEqual([...roles]);
});
