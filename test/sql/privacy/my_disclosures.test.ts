import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();

test("returns the reads of the signed-in person alone", async () => {
  await ingest(database, [message({ userId: "ada" }), message({ userId: "ben" })]);
  await database.query("select track.journey('ada'), track.journey('ben')");
  for (const person of ["ada", "ben"])
    await database.as("insights_learner", { "insights.person": person }, async (db) => {
      expect(await db.rows("select role, function_name, subject_name from privacy.my_disclosures()")).toEqual([
        { role: "postgres", function_name: "track.journey", subject_name: person },
      ]);
      expect(await db.rejects("select * from privacy.disclosure")).toMatchObject({ code: "42501" });
    });
});

test("the name of a browser opens nothing, nor does no name", async () => {
  await ingest(database, [message({ userId: undefined, anonymousId: "browser" })]);
  for (const [person, code] of [
    ["browser", "CF002"],
    ["who is this", "CF002"],
    ["", "CF005"],
  ] as const)
    await database.as("insights_learner", { "insights.person": person }, async (db) => {
      expect(await db.rejects("select privacy.my_disclosures()"), person).toMatchObject({ code });
    });
});

test("is for learners and instructors", async () => {
  expect(await rolesThatMay(database, "select privacy.my_disclosures()")).toEqual(["learner", "instructor"]);
});
