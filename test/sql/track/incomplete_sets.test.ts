import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { makeEnded } from "../experiment/ended.ts";
import { at } from "../experiment/experiments.ts";

const database = await testDatabase();

test("the sets of all rooms whose people were deleted", async () => {
  await makeEnded(database);
  const sets = "select name from track.incomplete_sets() as name order by name";
  await database.as("postgres", {}, async (db) => {
    expect(await db.rows(sets)).toEqual([]);
    await db.query("update track.setting set oldest_event = $1", [at(7)]);
    const names = ["arm.new_page.control", "arm.new_page.treatment", "cohort.live", "cohort.nested"];
    await db.query("savepoint deleted");
    await db.query("set local role insights_reader");
    expect(await db.rows(sets)).toEqual(names.map((name) => ({ name })));
    await db.query("rollback to deleted");
    // Those of the rooms that have some.
    await db.query("update track.consumer set incomplete_sets = null where consumer = 'experiment.exposure'");
    expect(await db.rows(sets)).toEqual(names.slice(2).map((name) => ({ name })));
    expect(await db.rejects("update track.consumer set incomplete_sets = 'a.b(); select 1'")).toMatchObject({
      code: "23514",
    });
  });
});
