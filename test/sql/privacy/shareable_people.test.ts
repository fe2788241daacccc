import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();

/* The rule is tested in may_share.test.ts, by one person and all. */
test("returns each of the given people once, and none of no list", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [message({ userId: "ada" }), message({ userId: "ben" })]);
    await db.query("select privacy.object('ben', 'sharing')");
    expect(
      await db.rows(`
        select external_id from privacy.shareable_people(
          array(select person_id from track.person) || array(select person_id from track.person) || '{0,null}'
        ) as person_id
        join track.identity using (person_id)`),
    ).toEqual([{ external_id: "ada" }]);
    for (const list of ["null", "'{}'"])
      expect(await db.rows(`select * from privacy.shareable_people(${list})`)).toEqual([]);
  });
});

test("is for admins and workers, and for learners about what they may read", async () => {
  expect(await rolesThatMay(database, "select privacy.shareable_people('{1}')")).toEqual([
    "learner",
    "instructor",
    "admin",
    "worker",
  ]);
});
