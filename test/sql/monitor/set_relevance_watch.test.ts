import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("stores the settings of a kind, and refuses others", async () => {
  await database.query("insert into track.item (external_id, kind) values ('algebra', 'course')");
  await database.as("insights_admin", {}, async (db) => {
    expect(
      await db.rows("select kind, rolls_back, fewest_people from monitor.set_relevance_watch('course', true)"),
    ).toEqual([{ kind: "course", rolls_back: true, fewest_people: 100 }]);
    expect(
      await db.rows("select rolls_back, alpha from monitor.set_relevance_watch('course', false, 0.01, 20, '1 hour')"),
    ).toEqual([{ rolls_back: false, alpha: 0.01 }]);
    for (const [call, code] of [
      ["'curse', true", "CF002"],
      ["null, true", "CF002"],
      ["'course', null", "CF001"],
      ["'course', true, 0.5", "CF001"],
      ["'course', true, 'NaN'", "CF001"],
      ["'course', true, null", "CF001"],
      ["'course', true, 0.05, 9", "CF001"],
      ["'course', true, 0.05, 100, '1 second'", "CF001"],
      ["'course', true, 0.05, 100, null", "CF001"],
    ]) {
      expect(await db.rejects(`select monitor.set_relevance_watch(${call})`)).toMatchObject({ code });
    }
  });
  expect(await rolesThatMay(database, "select monitor.set_relevance_watch('course')")).toEqual(["admin"]);
});
