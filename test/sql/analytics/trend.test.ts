import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { DAY, doings, iso, makeDoings, periods, start, withFloor } from "./doings.ts";

const database = await testDatabase();
await makeDoings(database);

describe("trend", () => {
  const bucketOf: Record<string, (at: number) => number> = {
    hour: (at) => Math.floor(at / 3_600_000) * 3_600_000,
    day: (at) => Math.floor(at / DAY) * DAY,
    week: (at) => start + Math.floor((at - start) / (7 * DAY)) * 7 * DAY,
    month: (at) => Date.UTC(new Date(at).getUTCFullYear(), new Date(at).getUTCMonth()),
  };

  const expected = (bucket: string, since: number, until: number, windowSize: number, floor: number) => {
    const truncate = bucketOf[bucket] as (at: number) => number;
    const buckets = new Map<number, { events: number; people: Set<string> }>();
    for (let at = truncate(since); at < until; ) {
      buckets.set(at, { events: 0, people: new Set() });
      at = truncate(
        at + (bucket === "month" ? 32 * DAY : bucket === "week" ? 7 * DAY : bucket === "day" ? DAY : 3_600_000),
      );
    }
    for (const { person, at, event } of doings) {
      if (event !== "Task Submitted" || at < since || at >= until) continue;
      const sum = buckets.get(truncate(at));
      sum?.people.add(person);
      if (sum !== undefined) sum.events += 1;
    }
    const points = [...buckets].map(([at, { events, people }]) => ({
      at,
      met: events === 0 || people.size >= floor,
      events,
      people: people.size,
    }));
    return points.map(({ at, met, events, people }, index) => {
      const seen = points
        .slice(Math.max(0, index - windowSize + 1), index + 1)
        .map((point, offset) => ({ ...point, x: offset }))
        .filter((point) => point.met);
      const mean = seen.reduce((sum, point) => sum + point.events, 0) / seen.length;
      const meanX = seen.reduce((sum, point) => sum + point.x, 0) / seen.length;
      const spread = seen.reduce((sum, point) => sum + (point.x - meanX) ** 2, 0);
      const slope = seen.reduce((sum, point) => sum + (point.x - meanX) * (point.events - mean), 0) / spread;
      return {
        bucket_start: new Date(at),
        event_count: met ? String(events) : null,
        person_count: met ? String(people) : null,
        running_average: seen.length === 0 ? null : expect.closeTo(mean, 9),
        slope: spread === 0 || seen.length === 0 ? null : expect.closeTo(slope, 9),
      };
    });
  };

  for (const bucket of ["hour", "day", "week", "month"]) {
    for (const [name, since, until] of periods.slice(0, 4)) {
      for (const [windowSize, floor] of [
        [7, 1],
        [3, 4],
        [1, 1],
      ] as const) {
        test(`${name}, by ${bucket}, over ${windowSize}, floor ${floor}`, async () => {
          const rows = await withFloor(
            database,
            floor,
            "select * from analytics.trend('Task Submitted', $1, $2, $3, $4)",
            [bucket, iso(since), iso(until), windowSize],
          );
          expect(rows).toEqual(expected(bucket, since, until, windowSize, floor));
        });
      }
    }
  }

  test.each([
    ["'Task Submited'", "CF002"],
    ["null", "CF002"],
    ["'Task Submitted', 'minute'", "CF001"],
    ["'Task Submitted', null", "CF001"],
    ["'Task Submitted', 'day', now(), now()", "CF001"],
    ["'Task Submitted', 'day', null", "CF001"],
    ["'Task Submitted', 'day', now() - interval '1 day', now(), 0", "CF001"],
    ["'Task Submitted', 'hour', '2020-01-01', '2026-01-01'", "CF008"],
    ["'Task Submitted', 'month', '-infinity', 'infinity'", "CF008"],
  ])("trend(%s) is %s", async (values, code) => {
    expect(await database.rejects(`select * from analytics.trend(${values})`)).toMatchObject({ code });
  });

  test("a misspelt event is refused with the nearest name", async () => {
    const { hint } = await database.rejects("select * from analytics.trend('submitted tasks')");
    expect(hint).toContain('"Task Submitted"');
  });

  test("is for analysts, admins and workers", async () => {
    expect(await rolesThatMay(database, "select * from analytics.trend('Task Submitted')")).toEqual([
      "analyst",
      "admin",
      "worker",
    ]);
  });
});
