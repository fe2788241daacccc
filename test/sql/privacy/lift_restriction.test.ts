import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

test("ends each restriction of a person once", async () => {
  await inside(async (db) => {
    await ingest(db, [message(), message({ userId: "ben" })]);
    await db.query("select privacy.restrict_person('ada', 'claims'), privacy.restrict_person('ben', 'claims')");
    await db.query("select track.merge_persons('ada', 'ben')");
    expect(await db.value("select privacy.lift_restriction('ben')")).toBe(true);
    expect(await db.value("select privacy.lift_restriction('ada')")).toBe(false);
    expect(await db.value("select privacy.allowed(track.find_person('ada'), 'service')")).toBe(true);
  });
});

test("an unknown person is CF002; is for admins", async () => {
  expect(await database.rejects("select privacy.lift_restriction('who is this')")).toMatchObject({ code: "CF002" });
  expect(await database.rejects("select privacy.lift_restriction(null)")).toMatchObject({ code: "CF001" });
  expect(await rolesThatMay(database, "select privacy.lift_restriction('ada')")).toEqual(["admin"]);
});
