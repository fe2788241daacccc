import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { makeEnded } from "../experiment/ended.ts";
import { at } from "../experiment/experiments.ts";

const database = await testDatabase();

test("live cohorts and segments that read a variation whose people were deleted", async () => {
  await makeEnded(database);
  const sets = "select name from analytics.incomplete_sets() as name";
  await database.as("postgres", {}, async (db) => {
    expect(await db.rows(sets)).toEqual([]);
    await db.query("update track.setting set oldest_event = $1", [at(7)]);
    expect(await db.rows(sets)).toEqual([{ name: "cohort.live" }, { name: "cohort.nested" }]);
    // Segments have rules of their own; one that reads a variation follows them.
    const { rows } = await db.query(
      "update analytics.cohort set rule = '{\"set\": \"cohort.nested\"}' where name = (select min(name) from analytics.cohort where name like 'segment.%') returning name",
    );
    expect(await db.rows(sets)).toEqual([
      { name: "cohort.live" },
      { name: "cohort.nested" },
      { name: rows[0]["name"] },
    ]);
  });
});
