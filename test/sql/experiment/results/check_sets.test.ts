import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { refresh } from "../../track/messages.ts";
import { at, move, send, start, viewed } from "../experiments.ts";

const database = await testDatabase();
const check = "select experiment.check_sets($1)";

beforeAll(async () => {
  await send(database, [{ person: "ada", event: "Task Submitted", day: 1 }]);
  await database.query("select experiment.define_metric('submits', 'proportion', '{Task Submitted}')");
  await start(database, { key: "new-page", goals: ["submits"] }, 5);
  await send(database, [viewed("ada", "new-page", 0, 6)]);
  await move(database, "new-page", 5, 20);
  await refresh(database);
});

test("the variations of an experiment are refused once its results are kept and its events deleted", async () => {
  await database.as("postgres", {}, async (db) => {
    for (const change of [
      "select",
      "select experiment.keep_results('new-page')",
      // Events from before the experiment and the time before it.
      "update track.setting set oldest_event = '2025-06-01Z'",
    ]) {
      await db.query(change);
      await db.query(check, [["arm.new_page.control"]]);
    }
    await db.query("update track.setting set oldest_event = $1", [at(7)]);
    for (const sets of [[], null, [null], ["counted", "arm.other.control", "armada"]]) await db.query(check, [sets]);
    await db.query("savepoint checked");
    for (const sets of [["arm.new_page.control"], ["counted", "arm.new_page.treatment"]]) {
      expect(await db.rejects(check, [sets])).toMatchObject({
        code: "CF010",
        message: 'people of the experiment "new-page" were deleted by a rule of retention',
        hint: expect.stringContaining("are kept"),
      });
      await db.query("rollback to checked");
    }
  });
});
