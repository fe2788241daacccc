import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "./messages.ts";
import { key } from "./sets.ts";

const database = await testDatabase();
await ingest(database, [message({ userId: "ada" }), message({ userId: undefined, anonymousId: "b1" })]);
await refresh(database);

test("is true for members, and false for all others", async () => {
  const ask = async (person: string | null) =>
    await database.value("select track.is_in_person_set('counted', $1)", [person]);
  expect(await ask(await key(database, "ada"))).toBe(true);
  expect(await ask(await key(database, "b1"))).toBe(false);
  for (const person of ["0", "-1", "4096", "9223372036854775807", null])
    expect(await ask(person), `${person}`).toBe(false);
});

test("an unknown set is CF002", async () => {
  expect(await database.rejects("select track.is_in_person_set('nobody', 1)")).toMatchObject({ code: "CF002" });
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select track.is_in_person_set('counted', 1)")).toEqual(["admin", "worker"]);
});
