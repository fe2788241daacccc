import { expect, test } from "vitest";
import { makeCanary, makeCanaryWorld, placesOf, userOf } from "../support/canary.ts";
import { testDatabase } from "../support/database.ts";

/*
 * A unique word in every field of every kind of message, and in whatever is written about the person: after her erasure
 * it is nowhere in the database but in the places that docs/privacy.md names.
 */
const database = await testDatabase();
await makeCanaryWorld(database);
await makeCanary(database, "kanari");

test("the word is found where it was put, so that the search can be trusted", async () => {
  const places = await placesOf(database, "kanari");
  console.log(places.join("\n"));
  expect(places).toEqual(expect.arrayContaining(["track.identity.external_id"]));
});

test("after the erasure the word is nowhere", async () => {
  const names = async () =>
    await database.rows<{ external_id: string }>(
      "select external_id from track.identity where external_id ~ 'kanari' order by 1",
    );
  console.log(await names());
  await database.query("select privacy.erase_person($1)", [userOf("kanari")]);
  console.log(await names());
  console.log((await placesOf(database, "kanari")).join("\n"));
  for (const name of ["kanari-browser", "kanari-claimed", "kanari-visitor"])
    await database.query("select privacy.erase_person($1)", [name]).catch((e) => console.log(name, e.message));
  console.log(await names());
  console.log((await placesOf(database, "kanari")).join("\n"));
  for (const t of [
    "track.event",
    "track.item",
    "track.event_type",
    "track.name_log",
    "track.named_item",
    "track.exclusion",
    "track.write_key_log",
  ])
    console.log(
      t,
      (await database.rows(`select to_jsonb(r) as r from ${t} as r where r::text ~ 'kanari'`))
        .map(({ r }) => JSON.stringify(r))
        .join("\n"),
    );
});
