import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "./messages.ts";

const database = await testDatabase();
await ingest(
  database,
  Array.from({ length: 30 }, (_, person) => message({ userId: `p${person}` })),
);

test("is the number of people as of the last refresh", async () => {
  expect(await database.value("select track.person_set_size('counted')")).toBe("0");
  await refresh(database, 7);
  expect(await database.value("select track.person_set_size('counted')")).toBe("30");
});

test("an unknown set is CF002", async () => {
  expect(await database.rejects("select track.person_set_size('signed')")).toMatchObject({
    code: "CF002",
    hint: 'Did you mean "signed_in"?',
  });
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select track.person_set_size('counted')")).toEqual(["admin", "worker"]);
});
