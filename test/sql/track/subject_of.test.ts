import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

test("the subject of a key is that of the name; there is none for the key of anonymized events and for unknown ones", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [message({ userId: "ada" })]);
    const key = await db.value<string>("select track.find_person('ada')");
    expect(await db.value("select to_jsonb(track.subject_of($1))", [key])).toEqual(
      await db.value("select to_jsonb(track.subject('ada'))"),
    );
    for (const other of [0, -1, 999_999_999, null]) {
      expect(await db.value("select (track.subject_of($1)).person_id", [other])).toBeNull();
    }
  });
});
