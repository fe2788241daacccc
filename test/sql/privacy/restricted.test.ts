import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

test("are the people with a restricted identity, all of them or some", async () => {
  await inside(async (db) => {
    await ingest(db, [message(), message({ userId: "ben" })]);
    expect(await db.rows("select privacy.restricted()")).toEqual([]);
    await db.query("select privacy.restrict_person('ada', 'claims'), privacy.restrict_person('ben', 'claims')");
    const ada = await db.value("select track.find_person('ada')");
    expect(await db.rows("select privacy.restricted($1) as id", [[ada, 0]])).toEqual([{ id: ada }]);
    expect(await db.value("select count(*)::int from privacy.restricted()")).toBe(2);
    expect(await db.rows("select privacy.restricted('{}')")).toEqual([]);
  });
});

test("is for those who may read decisions", async () => {
  expect(await rolesThatMay(database, "select privacy.restricted()")).toEqual([
    "learner",
    "instructor",
    "admin",
    "worker",
  ]);
});
