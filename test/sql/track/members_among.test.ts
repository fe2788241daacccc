import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "./messages.ts";
import { keys } from "./sets.ts";

const database = await testDatabase();
await ingest(database, [message({ userId: "ada" }), message({ userId: "ben" })]);
await refresh(database);

test("returns who belongs as of now, for lists and for computed sets", async () => {
  await database.as("postgres", {}, async (db) => {
    const [ada, ben] = await keys(db, "ada", "ben");
    const among = async (set: string) =>
      (await db.rows("select track.members_among($1, $2) as person order by 1", [set, [ada, ben, ada, 0, 777]])).map(
        ({ person }) => person,
      );
    await db.query("select track.set_person_set('mine', $1)", [[ben]]);
    expect(await among("mine")).toEqual([ben]);
    await db.query("select track.exclude_person('ada', 'test')");
    expect(await among("counted")).toEqual([ben]);
    expect(await among("none")).toEqual([]);
  });
});

test("is for functions that read people", async () => {
  expect(await rolesThatMay(database, "select track.members_among('counted', '{1}')")).toEqual([]);
});
