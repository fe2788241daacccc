import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("removes the watch with what it found; a name that does not exist is an error that names the nearest", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query("select analytics.watch_trend('daily-events')");
    await db.query(
      "insert into analytics.trend_anomaly (name, bucket_start, figure, expected, lower_bound, upper_bound) values ('daily-events', now(), 1, 2, 3, 4)",
    );
    expect(await db.rejects("select analytics.unwatch_trend('daily-event')")).toMatchObject({
      code: "CF002",
      hint: 'Did you mean "daily-events"?',
    });
    await db.query("select analytics.unwatch_trend('daily-events')");
    expect(await db.rows("select from analytics.trend_watch")).toEqual([]);
    expect(await db.rows("select from analytics.trend_anomaly")).toEqual([]);
    expect(await db.rejects("select analytics.unwatch_trend(null)")).toMatchObject({ code: "CF002" });
  });
});

test("is for admins", async () => {
  await database.query("select analytics.watch_trend('daily-events')");
  expect(await rolesThatMay(database, "select analytics.unwatch_trend('daily-events')")).toEqual(["admin"]);
});
