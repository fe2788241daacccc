import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ofGroups, ofHours, people as peopleOf, shown } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";
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

  const next = (bucket: string, at: number): number =>
    (bucketOf[bucket] as (at: number) => number)(
      at + (bucket === "month" ? 32 * DAY : bucket === "week" ? 7 * DAY : bucket === "day" ? DAY : 3_600_000),
    );

  /** Of the whole buckets between two times: nothing of a bucket depends on the rest of the period. */
  const expected = (bucket: string, since: number, until: number, windowSize: number, floor: number) => {
    const truncate = bucketOf[bucket] as (at: number) => number;
    const submitted = doings.filter(({ event }) => event === "Task Submitted");
    const points: { at: number; events: number; people: number }[] = [];
    for (let at = truncate(since); at < until; at = next(bucket, at)) {
      const end = next(bucket, at);
      const counted =
        bucket === "hour"
          ? ofHours(submitted, floor).filter((one) => one.at >= at && one.at < end)
          : ofGroups(submitted, at, end, floor);
      const people = peopleOf(counted);
      points.push({ at, events: shown(counted.length, people, floor), people: shown(people, people, floor) });
    }
    return points.map(({ at, events, people }, last) => {
      const seen = points
        .map((point, place) => ({ ...point, x: place }))
        .filter(({ x }) => x > last - windowSize && x <= last);
      const mean = seen.reduce((sum, point) => sum + point.events, 0) / seen.length;
      const meanX = seen.reduce((sum, point) => sum + point.x, 0) / seen.length;
      const spread = seen.reduce((sum, point) => sum + (point.x - meanX) ** 2, 0);
      const slope = seen.reduce((sum, point) => sum + (point.x - meanX) * (point.events - mean), 0) / spread;
      return {
        bucket_start: new Date(at),
        event_count: String(events),
        person_count: String(people),
        running_average: expect.closeTo(mean, 9),
        slope: spread === 0 ? null : expect.closeTo(slope, 9),
        is_complete: true,
      };
    });
  };

  const parts: [string, number, number][] = [
    ...periods.slice(0, 4),
    ["from the middle of a month to that of another", start - 10 * DAY, start + 38 * DAY],
    ["whole months", Date.UTC(2026, 0), Date.UTC(2026, 2)],
  ];
  for (const bucket of ["hour", "day", "week", "month"]) {
    for (const [name, since, until] of parts) {
      for (const [windowSize, floor] of [
        [7, 1],
        [3, 4],
        [2, 6],
        [1, 1],
      ] as const) {
        test(`${name}, by ${bucket}, over ${windowSize}, floor ${floor}`, async () => {
          const rows = await withFloor(
            database,
            floor,
            `select bucket_start, event_count, person_count, running_average, slope, is_complete
             from analytics.trend('Task Submitted', $1, $2, $3, $4)`,
            [bucket, iso(since), iso(until), windowSize],
          );
          expect(rows).toEqual(expected(bucket, since, until, windowSize, floor));
        });
      }
    }
  }

  test.each([
    ["'Task Submited'", "CF002"],
    ["'Task Submitted', 'second'", "CF001"],
    ["'Task Submitted', null", "CF001"],
    ["'Task Submitted', 'day', now(), now()", "CF001"],
    ["'Task Submitted', 'day', null", "CF001"],
    ["'Task Submitted', 'day', now() - interval '1 day', now(), 0", "CF001"],
    ["'Task Submitted', 'hour', '2020-01-01', '2026-01-01'", "CF008"],
    ["'Task Submitted', 'month', '-infinity', 'infinity'", "CF008"],
  ])("trend(%s) is %s", async (values, code) => {
    expect(await database.rejects(`select * from analytics.trend(${values})`)).toMatchObject({ code });
  });

  test("a period that cuts months contains them as a whole, and future ones are not complete", async () => {
    await database.as("postgres", {}, async (db) => {
      const daily = Array.from({ length: 120 * 5 }, (_, index) =>
        message({
          userId: `daily-${index % 5}`,
          event: "Daily",
          timestamp: iso(Date.UTC(2026, 0, 1 + Math.floor(index / 5), 12)),
        }),
      );
      await ingest(db, daily);
      const months = async (since: string, until: string) =>
        await db.rows(
          `select bucket_start, event_count::int as events, running_average as average, slope, is_complete as complete
           from analytics.trend('Daily', 'month', $1, $2)`,
          [since, until],
        );
      const month = (number: number) => new Date(Date.UTC(2026, number));
      const whole = [
        { bucket_start: month(0), events: 155, average: 155, slope: null, complete: true },
        { bucket_start: month(1), events: 140, average: 147.5, slope: -15, complete: true },
        { bucket_start: month(2), events: 155, average: 150, slope: 0, complete: true },
        { bucket_start: month(3), events: 150, average: 150, slope: 0, complete: true },
      ];
      expect(await months("2026-01-01Z", "2026-05-01Z")).toEqual(whole);
      for (const [since, until] of [
        ["2026-01-15Z", "2026-04-15Z"],
        ["2026-01-31 23:59:59.999999Z", "2026-04-01 00:00:00.000001Z"],
      ] as const)
        expect(await months(since, until)).toEqual(whole);
      expect(await months("2026-01-15Z", "2026-04-01Z")).toEqual(whole.slice(0, 3));
    });
  });

  test("by hour, by day and by item are the same before a refresh", async () => {
    await database.as("postgres", {}, async (db) => {
      const sent = Array.from({ length: 24 }, (_, index) =>
        message({
          userId: `early-${index % 6}`,
          event: "Early",
          timestamp: new Date(Date.now() - Math.floor(index / 6) * DAY - 1000).toISOString(),
          properties: { item: "early", itemKind: "course" },
        }),
      );
      await ingest(db, sent);
      const counts = async () => [
        ...(
          await db.rows<{ events: number }>(
            `select sum(event_count)::int as events
             from unnest('{hour,day,week,month}'::text[]) as bucket
             cross join analytics.trend('Early', bucket, now() - interval '5 days', now() + interval '1 minute')
             group by bucket`,
          )
        ).map(({ events }) => events),
        await db.value(
          `select event_count::int
           from analytics.popular_items('course', now() - interval '5 days', now() + interval '1 minute')
           where item = 'early'`,
        ),
      ];
      expect(await counts()).toEqual([24, 24, 24, 24, 24]);
      await refresh(db);
      expect(await counts()).toEqual([24, 24, 24, 24, 24]);
    });
  });

  test("the current bucket and later ones are not complete", async () => {
    for (const [bucket, until] of [
      ["hour", "now()"],
      ["day", "now()"],
      ["week", "now()"],
      ["month", "now() + interval '70 days'"],
    ] as const) {
      const rows = await database.rows(
        `select is_complete, bucket_start + $1::interval <= now() as has_ended, running_average, slope
         from analytics.trend('Screen Viewed', $2, date_trunc($2, now()) - 3 * $1::interval, ${until}, 2)`,
        [`1 ${bucket}`, bucket],
      );
      expect([rows.length, rows.filter((row) => row["is_complete"] === row["has_ended"]).length]).toEqual(
        bucket === "month" ? [expect.any(Number), rows.length] : [4, 4],
      );
      expect(rows.at(-1)).toMatchObject({ is_complete: false, running_average: 0, slope: 0 });
    }
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
