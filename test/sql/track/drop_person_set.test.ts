import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";
import { keys } from "./sets.ts";

const database = await testDatabase();
await ingest(database, [message({ userId: "ada" })]);

test("drops a set with its members", async () => {
  await database.query("select track.set_person_set('mine', $1)", [await keys(database, "ada")]);
  await database.query("select track.drop_person_set('mine')");
  for (const table of ["person_set", "person_set_member", "person_set_block"])
    expect(await database.value(`select count(*)::int from track.${table} where name = 'mine'`), table).toBe(0);
});

test.each([
  ["mine", "CF002"],
  ["counted", "CF001"],
  ["signed_in", "CF001"],
])("%s is %s", async (name, code) => {
  const error = await database.rejects("select track.drop_person_set($1)", [name]);
  expect(error).toMatchObject({ code });
  expect(error.hint).toBeTruthy();
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select track.drop_person_set('mine')")).toEqual(["admin"]);
});
