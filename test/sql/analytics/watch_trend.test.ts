import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeDoings } from "./doings.ts";

const database = await testDatabase();
await makeDoings(database);

const watch = (db: Queries, rest: string) => db.rows(`select * from analytics.watch_trend(${rest})`);

test("stores the watch with its defaults; another one of the same name replaces it and what it found", async () => {
  await database.as("insights_admin", {}, async (db) => {
    expect(await watch(db, "'all'")).toMatchObject([
      {
        name: "all",
        event_name: null,
        bucket: "day",
        zone: "UTC",
        measure: "events",
        direction: "both",
        season: null,
        history: 28,
        threshold: 3.5,
        checked_at: null,
      },
    ]);
    await db.query(
      "insert into analytics.trend_anomaly (name, bucket_start, figure, expected, lower_bound, upper_bound) values ('all', now(), 1, 2, 3, 4)",
    );
    await watch(
      db,
      "'all', 'Task Submitted', 'hour', 'Europe/Berlin', 'people', 'course-b', 'counted', 'below', 24, 48, 5",
    );
    expect(await db.rows("select event_name, item, among, direction, season from analytics.trend_watch")).toEqual([
      { event_name: "Task Submitted", item: "course-b", among: "counted", direction: "below", season: 24 },
    ]);
    expect(await db.rows("select from analytics.trend_anomaly")).toEqual([]);
  });
});

test.each([
  ["null", "CF001", "name"],
  ["'Views of today'", "CF001", "Views of today"],
  ["repeat('a', 64)", "CF001", "name"],
  ["'x', 'Task Submited'", "CF002", "Task Submited"],
  ["'x', bucket => 'month'", "CF001", "month"],
  ["'x', bucket => null", "CF001", "bucket"],
  ["'x', zone => 'Mars/Olympus'", "CF002", "Mars/Olympus"],
  ["'x', measure => 'visits'", "CF001", "visits"],
  ["'x', item => 'nothing'", "CF002", "nothing"],
  ["'x', among => 'nothing'", "CF002", "nothing"],
  ["'x', direction => 'up'", "CF001", "up"],
  ["'x', season => 0", "CF001", "season"],
  ["'x', history => 1", "CF001", "history"],
  ["'x', threshold => 'nan'", "CF001", "threshold"],
])("watch_trend(%s) is an error, and nothing is stored", async (argument, code, text) => {
  await database.as("insights_admin", {}, async (db) => {
    expect(await db.rejects(`select analytics.watch_trend(${argument})`)).toMatchObject({
      code,
      message: expect.stringContaining(text),
    });
    expect(await db.rows("select from analytics.trend_watch")).toEqual([]);
  });
});

test("at most 100 trends are watched; one of them can still be replaced", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query(
      `insert into analytics.trend_watch (name, bucket, zone, measure, direction, history, threshold)
       select 'w' || number, 'day', 'UTC', 'events', 'both', 28, 3.5 from generate_series(1, 100) as number`,
    );
    expect(await db.rejects("select analytics.watch_trend('one-more')")).toMatchObject({ code: "CF008" });
    await watch(db, "'w1'");
  });
});

test("is for admins; analysts read the definitions", async () => {
  expect(await rolesThatMay(database, "select analytics.watch_trend('x')")).toEqual(["admin"]);
  expect(await rolesThatMay(database, "select * from analytics.trend_watch")).toEqual(["analyst", "admin", "worker"]);
});
