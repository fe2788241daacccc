import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest, message, refresh } from "./messages.ts";

const database = await testDatabase();

test("are those who are counted or excluded since the last refresh, or no more", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [message({ userId: "ada" }), message({ userId: "ben" })]);
    const moved = () =>
      db.rows(
        "select external_id as person from track.moved_people() as moved (person_id) join track.identity on identity_id = moved.person_id order by 1",
      );
    expect(await moved()).toEqual([{ person: "ada" }, { person: "ben" }]);
    await refresh(db);
    expect(await moved()).toEqual([]);
    // An event, and a decision without effect, queue a person too.
    await ingest(db, [message({ userId: "ada" })]);
    await db.query("select track.exclude_person('ben', 'bot')");
    expect(await moved()).toEqual([{ person: "ben" }]);
    await db.query("select track.include_person('ben')");
    expect(await moved()).toEqual([]);
  });
});

test("are not for analysts", async () => {
  await database.as("insights_analyst", {}, async (db) =>
    expect(await db.rejects("select track.moved_people()")).toMatchObject({ code: "42501" }),
  );
});
