import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { DAY, iso, makeDoings, start, withFloor } from "./doings.ts";

const database = await testDatabase();
await makeDoings(database);

const call = (measure: string): string =>
  `analytics.trend_figures('Task Submitted', 'week', '${iso(start)}', '${iso(start + 28 * DAY)}', 'UTC', '${measure}',
     'course-b', null, null, 10)`;

test.each([
  ["events", "event_count::float8"],
  ["people", "person_count::float8"],
  ["engaged", "extract(epoch from engaged)::float8"],
])("%s are those of the trend, for analysts too", async (measure, column) => {
  for (const floor of [1, 5]) {
    const rows = await withFloor(database, floor, `select bucket_start, figure from ${call(measure)} order by 1`, []);
    expect(rows).toHaveLength(4);
    expect(rows).toEqual(
      await withFloor(
        database,
        floor,
        `select bucket_start, ${column} as figure
         from analytics.trend('Task Submitted', 'week', '${iso(start)}', '${iso(start + 28 * DAY)}', item => 'course-b')
         order by 1`,
        [],
      ),
    );
  }
});

test("each bucket ends where the next one begins", async () => {
  const rows = await withFloor<{ from: Date; to: Date }>(
    database,
    1,
    `select bucket_start as from, bucket_end as to from ${call("events")} order by 1`,
    [],
  );
  expect(rows.slice(1).map(({ from }) => from)).toEqual(rows.slice(0, -1).map(({ to }) => to));
});

test("another measure is an error", async () => {
  expect(await database.rejects(`select * from ${call("visits")}`)).toMatchObject({ code: "CF001" });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, `select * from ${call("events")}`)).toEqual(["analyst", "admin", "worker"]);
});
