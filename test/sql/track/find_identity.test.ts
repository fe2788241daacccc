import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";
import { browse, identify } from "./names.ts";

const database = await testDatabase();
await ingest(database, [
  message({ userId: "ada" }),
  identify("browser", "ada"),
  message({ userId: "ben" }),
  browse("ben"),
]);

test("finds the identity of a name, and a user before a browser of the same name", async () => {
  for (const [name, kind] of [
    ["ada", "user"],
    ["ben", "user"],
  ]) {
    expect(await database.value("select track.find_identity($1)", [name])).toBe(
      await database.value("select identity_id from track.identity where external_id = $1 and kind = $2", [name, kind]),
    );
  }
  expect(
    await database.value(
      `select bool_and(identity.person_id = track.find_person(identity.external_id))
       from track.identity where identity.identity_id = track.find_identity(identity.external_id)`,
    ),
  ).toBe(true);
  for (const name of ["ghost", "", null]) {
    expect(await database.value("select track.find_identity($1)", [name])).toBeNull();
  }
});

test("learners find themselves only", async () => {
  await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
    expect(await db.value("select track.find_identity('ada')")).not.toBeNull();
    expect(await db.value("select track.find_identity('ben')")).toBeNull();
  });
  expect(await rolesThatMay(database, "select track.find_identity('ada')")).toEqual(["learner", "instructor", "admin"]);
});
