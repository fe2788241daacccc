import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeLearners } from "./learners.ts";

const database = await testDatabase();
await makeLearners(database);

test("my_journey is my own", async () => {
  const sql = "select event, item, session_id from track.my_journey('2026-03-01', '2026-03-02')";
  await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
    const mine = await db.rows(sql);
    expect(mine).toHaveLength(4);
  });
  await database.as("insights_learner", { "insights.person": "ghost" }, async (db) =>
    expect(await db.rows(sql)).toEqual([]),
  );
});

test("is what an admin reads of the same person", async () => {
  const journey = await database.rows("select * from track.journey('ben', '-infinity')");
  expect(journey.length).toBeGreaterThanOrEqual(6);
  await database.as("insights_learner", { "insights.person": "ben" }, async (db) =>
    expect(await db.rows("select * from track.my_journey('-infinity')")).toEqual(journey),
  );
});

test("is empty without a signed-in person, and is for learners", async () => {
  await database.as("insights_learner", {}, async (db) =>
    expect(await db.rows("select * from track.my_journey('-infinity')")).toEqual([]),
  );
  expect(await rolesThatMay(database, "select track.my_journey()", { "insights.person": "ada" })).toEqual([
    "learner",
    "instructor",
  ]);
});
