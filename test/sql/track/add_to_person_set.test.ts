import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "./messages.ts";
import { keys, members } from "./sets.ts";

const database = await testDatabase();
await ingest(
  database,
  ["ada", "ben"].map((userId) => message({ userId })),
);
await refresh(database);
const [ada, ben] = await keys(database, "ada", "ben");
await database.query("select track.set_person_set('mine', $1)", [[ada]]);

test("adds people once, and leaves the others", async () => {
  expect(await database.value("select track.add_to_person_set('mine', $1)", [[ben, ada]])).toBe("2");
  expect(await database.value("select track.add_to_person_set('mine', $1)", [[ben]])).toBe("2");
  expect(await database.value("select track.add_to_person_set('mine', null)")).toBe("2");
  expect(await members(database, "mine")).toEqual(["ada", "ben"]);
});

test.each([
  ["'min', '{}'", "CF002", 'Did you mean "mine"?'],
  ["'mine', '{77777}'", "CF002", expect.stringContaining("find_person")],
  ["'counted', '{}'", "CF001", expect.stringContaining("another name")],
])("add_to_person_set(%s) is %s", async (values, code, hint) => {
  expect(await database.rejects(`select track.add_to_person_set(${values})`)).toMatchObject({ code, hint });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select track.add_to_person_set('mine', '{}')")).toEqual(["admin"]);
});
