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
await ingest(database, [message({ userId: undefined, anonymousId: "b1" })]);
await refresh(database);
const [ada, ben, b1] = await keys(database, "ada", "ben", "b1");

test("removes people, with all of their identities that are listed, and leaves the others", async () => {
  await database.query("select track.set_person_set('mine', $1)", [[ada, ben, b1]]);
  await database.query("select track.link_identities('ada', 'b1')");
  await refresh(database);
  expect(await members(database, "mine")).toEqual(["ada", "ben"]);
  expect(await database.value("select track.remove_from_person_set('mine', $1)", [[ada, "77777"]])).toBe("1");
  expect(await members(database, "mine")).toEqual(["ben"]);
  await database.query("select track.unlink_identities('ada', 'b1')");
  await refresh(database);
  expect(await members(database, "mine")).toEqual(["ben"]);
});

test.each([
  ["'min', '{}'", "CF002"],
  ["'signed_in', '{}'", "CF001"],
])("remove_from_person_set(%s) is %s", async (values, code) => {
  expect(await database.rejects(`select track.remove_from_person_set(${values})`)).toMatchObject({ code });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select track.remove_from_person_set('mine', '{}')")).toEqual(["admin"]);
});
