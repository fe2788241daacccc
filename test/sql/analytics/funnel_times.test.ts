import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";
import { DAY, iso, start, withFloor } from "./doings.ts";

const database = await testDatabase();
/** Minutes from the first to the second step: 0 to 29, and one of three days. */
const minutes = [...Array(30).keys(), 3 * 24 * 60];
await ingest(
  database,
  minutes.flatMap((minute, index) => [
    message({ userId: `p${index}`, event: "Opened", timestamp: iso(start) }),
    message({ userId: `p${index}`, event: "Ended", timestamp: iso(start + minute * 60_000) }),
  ]),
);
const period = [iso(start), iso(start + 10 * DAY)];
const call = `
  select bin_start::text, bin_end::text, person_count::int
  from analytics.funnel_times('["Opened", "Ended"]', $1, $2, bins => $3)`;

test("bins are of the smallest width that covers 95 % of the people; longer times are in the last one", async () => {
  // 95 % take up to 28.5 minutes.
  expect(await withFloor(database, 1, call, [...period, 10])).toEqual([
    { bin_start: "00:00:00", bin_end: "00:05:00", person_count: 5 },
    { bin_start: "00:05:00", bin_end: "00:10:00", person_count: 5 },
    { bin_start: "00:10:00", bin_end: "00:15:00", person_count: 5 },
    { bin_start: "00:15:00", bin_end: "00:20:00", person_count: 5 },
    { bin_start: "00:20:00", bin_end: "00:25:00", person_count: 5 },
    { bin_start: "00:25:00", bin_end: "00:30:00", person_count: 5 },
    { bin_start: "00:30:00", bin_end: "00:35:00", person_count: 0 },
    { bin_start: "00:35:00", bin_end: "00:40:00", person_count: 0 },
    { bin_start: "00:40:00", bin_end: "00:45:00", person_count: 0 },
    { bin_start: "00:45:00", bin_end: "00:50:00", person_count: 0 },
    { bin_start: "00:50:00", bin_end: null, person_count: 1 },
  ]);
});

test("analysts see bins of enough people, and nothing of fewer than 23", async () => {
  expect(await withFloor(database, 5, call, [...period, 3])).toEqual([
    { bin_start: "00:00:00", bin_end: "00:10:00", person_count: 10 },
    { bin_start: "00:10:00", bin_end: "00:20:00", person_count: 10 },
    { bin_start: "00:20:00", bin_end: "00:30:00", person_count: 10 },
  ]);
  await database.as("postgres", {}, async (db) => {
    await db.query(`select track.exclude_person('p' || number, 'test') from generate_series(0, 8) as number`);
    await db.query("set local role insights_analyst");
    expect(await db.rows(call, [...period, 3])).toEqual([]);
  });
});

test("a number of bins that cannot be, and steps in another order, are errors", async () => {
  for (const [bins, code] of [
    [0, "CF001"],
    [1001, "CF001"],
    [null, "CF001"],
  ])
    expect(await database.rejects(call, [...period, bins])).toMatchObject({ code });
  expect(
    await database.rejects(`select * from analytics.funnel_times('["Opened", "Ended"]', from_step => 2)`),
  ).toMatchObject({ code: "CF001", message: "from_step is 2 and to_step 2" });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, `select * from analytics.funnel_times('["Opened", "Ended"]')`)).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
