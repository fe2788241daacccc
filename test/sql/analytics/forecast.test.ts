import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, refresh } from "../track/messages.ts";
import { DAY, iso, start, withFloor } from "./doings.ts";

const database = await testDatabase();
const random = generator(5);
/** Sixty days of a course with quiet weekends, the first event on day 3. */
const counts = Array.from({ length: 60 }, (_, day) =>
  day < 3 ? 0 : (day % 7 < 5 ? 20 : 5) + Math.floor(random() * 6),
);
await ingest(
  database,
  counts.flatMap((count, day) =>
    Array.from({ length: count }, (_, number) => ({
      type: "track",
      event: "Task Submitted",
      messageId: `${day} ${number}`,
      userId: `p${number}`,
      timestamp: iso(start + day * DAY + number * 60_000),
      properties: { form: number % 2 === 0 ? "even" : "odd" },
    })),
  ),
);
await ingest(
  database,
  Array.from({ length: 3 }, (_, number) => ({
    type: "track",
    event: "Task Submitted",
    messageId: `rare ${number}`,
    userId: `p${number}`,
    timestamp: iso(start + 58 * DAY + number),
    properties: { form: "rare" },
  })),
);
await refresh(database);

const until = iso(start + 58 * DAY);
const period = `since => '${iso(start - 10 * DAY)}', until => '${until}'`;

interface Row {
  day: number;
  forecast_value: number;
  lower_bound: number;
  naive_value: number;
  bucket_count: number;
}

const call = (rest: string): string => `
  select (extract(epoch from bucket_start - '${iso(start)}') / 86400)::float8 as day, forecast_value, lower_bound,
    naive_value, bucket_count
  from analytics.forecast('Task Submitted', ${rest}) order by step_ahead`;

test("is the forecast of the figures from the first event on; the naive one is a week ago", async () => {
  const rows = await withFloor<Row>(database, 1, call(`steps_ahead => 8, ${period}`), []);
  const series = counts.slice(3, 58);
  expect(rows).toEqual(
    (
      await database.rows<{ forecast_value: number; lower: number; naive_value: number; step_ahead: number }>(
        "select * from ml.forecast_series($1, 8, 7)",
        [series],
      )
    ).map((ahead) => ({
      day: 57 + ahead.step_ahead,
      forecast_value: ahead.forecast_value,
      lower_bound: Math.max(0, ahead.lower),
      naive_value: ahead.naive_value,
      bucket_count: 55,
    })),
  );
  expect(rows.map(({ naive_value }) => naive_value)).toEqual([...counts.slice(51, 58), counts[51]]);
  // Weekends are expected to be quiet.
  expect(rows.filter(({ day }) => day % 7 >= 5).every(({ forecast_value }) => forecast_value < 12)).toBe(true);
});

/*
 * statsmodels 0.15.0: ETSModel(y, error="add", trend=None, seasonal="add", seasonal_periods=7,
 * initialization_method="estimated").fit() of the same 55 days. Its sum of squared errors is 148.744; the variance here
 * is that of 55 days less 9 parameters (level, six seasons and two weights), as in Hyndman and others (2008).
 */
test("agrees with statsmodels", async () => {
  const rows = await withFloor<Row>(database, 1, call(`steps_ahead => 8, ${period}`), []);
  const expected = [22.571396, 21.749977, 22.500034, 7.875037, 7.375043, 22.624977, 23.124996, 22.571396];
  expect(rows).toHaveLength(expected.length);
  for (const [place, { forecast_value, lower_bound }] of rows.entries()) {
    expect(forecast_value).toBeCloseTo(expected[place] ?? 0, 3);
    expect(forecast_value - lower_bound).toBeCloseTo(1.959964 * Math.sqrt(148.744 / (55 - 9)), 2);
  }
});

test("the day of until is part of it as a whole, as in the trend", async () => {
  const rows = await withFloor<Row>(
    database,
    1,
    call(`steps_ahead => 1, since => '${iso(start)}', until => '${iso(start + 57.5 * DAY)}'`),
    [],
  );
  expect(rows).toMatchObject([{ day: 58, bucket_count: 55 }]);
});

test("the days of a zone begin at its midnight, also after the change to summer time", async () => {
  const rows = await database.as("insights_admin", {}, (db) =>
    db.rows<{ local: string }>(
      `select (bucket_start at time zone 'Europe/Berlin')::text as local
       from analytics.forecast('Task Submitted', steps_ahead => 3, since => '2026-02-05', until => '2026-03-27T12:00Z',
         zone => 'Europe/Berlin')`,
    ),
  );
  expect(rows.map(({ local }) => local)).toEqual(["2026-03-28 00:00:00", "2026-03-29 00:00:00", "2026-03-30 00:00:00"]);
});

test("one per value of a breakdown; a value with fewer than four days has none", async () => {
  const rows = await withFloor<{ value: string; count: number }>(
    database,
    1,
    `select breakdown_value as value, count(*)::int from analytics.forecast('Task Submitted', steps_ahead => 2,
       since => '${iso(start)}', until => '${iso(start + 60 * DAY)}', breakdown => 'property.form')
     group by breakdown_value order by 1`,
    [],
  );
  expect(rows).toEqual([
    { value: "even", count: 2 },
    { value: "odd", count: 2 },
  ]);
});

test("for analysts it is computed from the figures that they see", async () => {
  const rows = await withFloor<Row>(database, 6, call(`measure => 'people', steps_ahead => 7, ${period}`), []);
  expect(rows).toHaveLength(7);
  expect(rows.every(({ naive_value }) => naive_value % 6 === 0)).toBe(true);
});

test("a day that has not ended is not part of it, so that a new event has no forecast", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [{ type: "track", event: "New", messageId: "new", userId: "p1", timestamp: iso(Date.now()) }]);
    expect(await db.rows("select * from analytics.forecast('New')")).toEqual([]);
  });
});

test.each([
  ["measure => 'visits'", "CF001", "measure"],
  ["season => 0", "CF001", "season"],
  ["steps_ahead => 0", "CF001", "steps_ahead"],
  ["steps_ahead => 367", "CF001", "steps_ahead"],
  ["event_name => 'Nothing'", "CF002", "Nothing"],
  ["bucket => 'fortnight'", "CF001", "fortnight"],
  ["zone => 'Mars/Olympus'", "CF002", "Mars/Olympus"],
  ["zone => null", "CF002", "null"],
  ["since => '-infinity'", "CF008", ""],
  ["confidence => 1, event_name => 'Task Submitted', until => '2026-04-01'", "CF001", "confidence"],
  [
    "event_name => 'Task Submitted', bucket => 'hour', since => '2026-02-01', until => '2026-09-20'",
    "CF008",
    "1 series have",
  ],
])("%s is an error", async (argument, code, text) => {
  expect(await database.rejects(`select * from analytics.forecast(${argument})`)).toMatchObject({
    code,
    message: expect.stringContaining(text),
  });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.forecast()")).toEqual(["analyst", "admin", "worker"]);
});
