import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

test("a person has all her identities, by each of her names", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [
      message({ type: "identify", event: undefined, userId: "ada", anonymousId: "phone" }),
      message({ userId: "ben" }),
    ]);
    const person = await db.value("select person_id from track.identity where external_id = 'ada'");
    const expected = await db.rows(
      `select person_id, array_agg(identity_id order by identity_id) as identity_ids,
         array_agg(kind order by identity_id) as kinds, array_agg(external_id order by identity_id) as names
       from track.identity where external_id in ('ada', 'phone') group by person_id`,
    );
    for (const name of ["ada", "phone"])
      expect(await db.rows("select * from track.subject($1)", [name])).toEqual(expected);
    expect(await db.rows("select * from track.subject_of($1)", [person])).toEqual(expected);
    expect(await db.value("select (track.subject_of(0)).names")).toBeNull();
    expect(await db.value("select (track.subject_of(-1)).names")).toBeNull();
  });
});

test("an unknown name is refused", async () => {
  for (const name of ["nobody", "", null]) {
    await database.as("insights_admin", {}, async (db) => {
      expect(await db.rejects("select track.subject($1)", [name])).toMatchObject({ code: "CF002" });
    });
  }
});

test("a learner finds herself only", async () => {
  await ingest(database, [message({ userId: "ada" }), message({ userId: "ben" })]);
  await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
    await db.query("select set_config('insights.person_id', track.find_person('ada')::text, true)");
    expect(await db.value("select (track.subject('ada')).names")).toEqual(["ada"]);
    expect(await db.rejects("select track.subject('ben')")).toMatchObject({ code: "CF002" });
  });
});
