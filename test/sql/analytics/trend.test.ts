import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
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
    ["'Task Submitted', 'minute', '2026-01-01', '2027-01-01'", "CF008"],
    ["zone => 'Europe/Berlim'", "CF002"],
    ["zone => '+00:15'", "CF002"],
    ["zone => null", "CF002"],
    ["item => 'page-aa'", "CF002"],
    ["among => 'segment.unknown'", "CF002"],
    ["among => 'counted; drop table track.event'", "CF001"],
    ["breakdown => 'plan'", "CF001"],
    ["breakdown => ''", "CF001"],
    ["breakdown => 'property.'", "CF001"],
    ["breakdown => 'set.unknown'", "CF002"],
    ["breakdown => 'property.' || repeat('x', 200)", "CF008"],
    ["breakdown => 'item', top_values => 0", "CF001"],
    ["breakdown => 'item', top_values => 101", "CF001"],
    ["bucket => 'hour', since => '2025-01-01', until => '2026-01-01', breakdown => 'item', top_values => 100", "CF008"],
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

  /** As many events of an own kind as given, on each day from 2026-02-02, by people in turn. */
  const makeDays = async (db: Queries, event: string, counts: readonly number[], people = 5): Promise<void> => {
    await ingest(
      db,
      counts.flatMap((count, day) =>
        Array.from({ length: count }, (_, index) =>
          message({ userId: `${event} ${index % people}`, event, timestamp: iso(start + day * DAY + index * 60_000) }),
        ),
      ),
    );
  };

  test("the confidence interval of the slope is that of the least-squares line", async () => {
    await database.as("postgres", {}, async (db) => {
      await makeDays(db, "Line", [2, 4, 5, 4, 5]);
      const rows = await db.rows(
        `select slope, slope_lower, slope_upper, growth, cumulative_events::int as cumulative, events_per_person
         from analytics.trend('Line', 'day', '2026-02-02Z', '2026-02-07Z')`,
      );
      // Squares of the residuals: 2.4; 0.6 +- 3.1824 * sqrt(2.4 / 3 / 10).
      const close = (value: number) => expect.closeTo(value, 9);
      expect(rows.at(-1)).toEqual({
        slope: close(0.6),
        slope_lower: close(0.6 - 3.182446305283708 * Math.sqrt(0.08)),
        slope_upper: close(0.6 + 3.182446305283708 * Math.sqrt(0.08)),
        growth: close(0.25),
        cumulative: 20,
        events_per_person: 1,
      });
      expect(rows[0]).toMatchObject({ slope: null, slope_lower: null, growth: null, cumulative: 2 });
      expect(rows[1]).toMatchObject({ slope: close(2), slope_lower: null, growth: close(1) });
      expect(rows[2]).toMatchObject({ slope: close(1.5), slope_lower: expect.any(Number) });
    });
  });

  test("the quantiles of the intervals are those of Student's t", async () => {
    expect(
      await database.rows(
        `select nu, analytics._confidence_quantile(nu) as ours, ml.students_t_quantile(0.975, nu) as exact
         from unnest(array(select generate_series(1, 31)) || '{50,199,200,201,500,9998}') as nu
         where abs(analytics._confidence_quantile(nu) / ml.students_t_quantile(0.975, nu) - 1) > 1e-11`,
      ),
    ).toEqual([]);
    expect(await database.value("select analytics._confidence_quantile(0)")).toBe(null);
  });

  test("the seasonally adjusted number has no weekdays, and one day does not change the others", async () => {
    await database.as("postgres", {}, async (db) => {
      const weekdays = [6, 8, 9, 7, 5, 1, 6];
      await makeDays(db, "Weekly", [...weekdays, ...weekdays, ...weekdays, ...weekdays, ...weekdays, ...weekdays]);
      const adjusted = async () =>
        (
          await db.rows<{ adjusted: number; season: number | null }>(
            `select seasonally_adjusted as adjusted, season_growth as season
             from analytics.trend('Weekly', 'day', '2026-02-02Z', '2026-03-16Z')`,
          )
        ).map(({ adjusted, season }) => [adjusted, season]);
      expect(await adjusted()).toEqual(
        Array.from({ length: 42 }, (_, day) => [expect.closeTo(6, 9), day < 7 ? null : expect.closeTo(0, 9)]),
      );
      await ingest(
        db,
        Array.from({ length: 30 }, (_, index) =>
          message({ userId: "Weekly 0", event: "Weekly", timestamp: iso(start + 15 * DAY + index) }),
        ),
      );
      const campaign = await adjusted();
      expect(campaign[15]).toEqual([expect.closeTo(36, 0), expect.closeTo(30 / 8, 9)]);
      expect(campaign.filter((_, day) => day !== 15).map(([value]) => value)).toEqual(
        Array.from({ length: 41 }, () => expect.closeTo(6, 0)),
      );
      // Fewer than two weeks.
      expect(
        await db.value(
          "select count(seasonally_adjusted)::int from analytics.trend('Weekly', 'day', '2026-02-02Z', '2026-02-15Z')",
        ),
      ).toBe(0);
    });
  });

  test("days of a zone have 23 and 25 hours, and the repeated hour is two", async () => {
    const hours = async (zone: string, since: string, until: string) =>
      await database.rows<{ hours: number }>(
        `select extract(epoch from lead(bucket_start) over (order by bucket_start) - bucket_start)::int / 3600 as hours
         from analytics.trend('Task Submitted', 'day', $1, $2, zone => $3)`,
        [since, until, zone],
      );
    expect((await hours("Europe/Berlin", "2026-03-28Z", "2026-03-31Z")).map((row) => row.hours)).toEqual([
      24,
      23,
      24,
      null,
    ]);
    expect((await hours("Europe/Berlin", "2025-10-25Z", "2025-10-28Z")).map((row) => row.hours)).toEqual([
      24,
      25,
      24,
      null,
    ]);
    expect(
      await database.value(
        `select count(*)::int from analytics.trend(
           'Task Submitted', 'hour', '2025-10-25 22:00Z', '2025-10-26 23:00Z', zone => 'Europe/Berlin')`,
      ),
    ).toBe(25);
  });

  test("a use of items is that of popular_items, with the engaged time", async () => {
    await database.as("postgres", {}, async (db) => {
      const visits = Array.from({ length: 60 }, (_, index) => ({
        who: `reader ${index % 8}`,
        at: start + (index % 12) * DAY + index * 3_600_000,
        item: ["page-a", "page-b", "page-c", "course-a"][index % 4] as string,
      }));
      await ingest(
        db,
        visits.flatMap(({ who, at, item }) => [
          message({ type: "page", userId: who, timestamp: iso(at), properties: { item } }),
          message({ userId: who, event: "Heartbeat", timestamp: iso(at + 40_000), properties: { item } }),
          message({ anonymousId: `browser ${who}`, event: "Course Rated", timestamp: iso(at), properties: { item } }),
        ]),
      );
      const compare = async (): Promise<number> => {
        let compared = 0;
        for (const bucket of ["day", "week", "month"]) {
          const differing = await db.rows(
            `with item as (
               select external_id, kind from track.item
               where external_id in ('page-a', 'page-b', 'page-c', 'course-a', 'course-b')
             ),
             trend as (
               select external_id, kind, trend.*
               from item
               cross join lateral analytics.trend(
                 null, $1, '2026-02-02Z', '2026-02-23Z', item => external_id
               ) as trend
             )
             select trend.external_id, trend.bucket_start, trend.event_count, trend.person_count, trend.engaged, popular
             from trend
             left join lateral analytics.popular_items(
               kind, bucket_start, bucket_start + ('1 ' || $1)::interval, top => 100
             ) as popular on popular.item = external_id
             where (trend.event_count, trend.person_count, trend.engaged)
               <> (coalesce(popular.event_count, 0), coalesce(popular.person_count, 0), coalesce(popular.engaged, '0'))`,
            [bucket],
          );
          expect(differing, bucket).toEqual([]);
          compared += await db.value<number>(
            `select count(*)::int
             from analytics.trend(null, $1, '2026-02-02Z', '2026-02-23Z', item => 'course-b')
             where person_count > 0`,
            [bucket],
          );
        }
        return compared;
      };
      expect(await compare()).toBeGreaterThan(0);
      await refresh(db);
      expect(await compare()).toBeGreaterThan(0);
      expect(
        await db.value(
          "select sum(engaged) > '1 minute' from analytics.trend(null, 'day', '2026-02-02Z', '2026-03-16Z')",
        ),
      ).toBe(true);
      expect(
        await db.rows(
          `select bucket_start::text, sum(engaged)::text as engaged
           from analytics.trend(null, 'week', '2026-02-02Z', '2026-03-16Z', breakdown => 'item') group by 1 order by 1`,
        ),
      ).toEqual(
        await db.rows(
          `select bucket_start::text, engaged::text
           from analytics.trend(null, 'week', '2026-02-02Z', '2026-03-16Z') order by 1`,
        ),
      );
      await db.query("update analytics.setting set smallest_group = 3");
      await db.query("set local role insights_analyst");
      expect(await compare()).toBeGreaterThan(0);
    });
  });

  test("buckets have the annotations that overlap them", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query(
        `insert into analytics.annotation (title, starts_at, ends_at, created_by)
         values ('Term', '2026-02-03 12:00Z', '2026-02-05Z', 'x'), ('Release', '2026-02-04Z', null, 'x')`,
      );
      await db.query("set local role insights_analyst");
      expect(
        (
          await db.rows<{ annotations: string[] }>(
            "select annotations from analytics.trend('Task Submitted', 'day', '2026-02-02Z', '2026-02-06Z')",
          )
        ).map(({ annotations }) => annotations),
      ).toEqual([[], ["Term"], ["Term", "Release"], []]);
    });
  });

  describe("by value", () => {
    test("of a property that is text and number, and many values", async () => {
      await database.as("postgres", {}, async (db) => {
        const values = [1, "1", 1, true, "true", null, undefined, { a: 1 }, ["x"], "x".repeat(300), "x".repeat(250)];
        await ingest(
          db,
          [...values, ...Array.from({ length: 2000 }, (_, index) => `many ${index}`)].map((value, index) =>
            message({
              userId: `chooser ${index % 7}`,
              event: "Chosen",
              timestamp: iso(start + index),
              properties: { 'it\'s "odd"; --': value },
            }),
          ),
        );
        const rows = async (top: number) =>
          await db.rows(
            `select breakdown_value as value, is_other, event_count::int as events
             from analytics.trend('Chosen', 'week', '2026-02-02Z', '2026-02-09Z',
               breakdown => 'property.it''s "odd"; --', top_values => $1)`,
            [top],
          );
        expect(await rows(4)).toEqual([
          { value: "1", is_other: false, events: 3 },
          { value: null, is_other: false, events: 2 },
          { value: "true", is_other: false, events: 2 },
          { value: "x".repeat(200), is_other: false, events: 2 },
          { value: "other", is_other: true, events: 2002 },
        ]);
        expect((await rows(100)).length).toBe(101);
      });
    });

    test("a value named other is not the rest", async () => {
      await database.as("postgres", {}, async (db) => {
        await ingest(
          db,
          ["other", "other", "a", "b"].map((colour, index) =>
            message({ userId: "x", event: "Painted", timestamp: iso(start + index), properties: { colour } }),
          ),
        );
        expect(
          await db.rows(
            `select breakdown_value as value, is_other, event_count::int as events
             from analytics.trend('Painted', 'day', '2026-02-02Z', '2026-02-03Z',
               breakdown => 'property.colour', top_values => 1)`,
          ),
        ).toEqual([
          { value: "other", is_other: false, events: 2 },
          { value: "other", is_other: true, events: 2 },
        ]);
      });
    });

    test("of a trait at the time of the event, and as of now", async () => {
      await database.as("postgres", {}, async (db) => {
        const act = (day: number) => message({ userId: "grower", event: "Grown", timestamp: iso(start + day * DAY) });
        const plan = (value: string, day: number) => ({
          ...message({ userId: "grower", timestamp: iso(start + day * DAY) }),
          type: "identify",
          event: undefined,
          traits: { plan: value },
        });
        await ingest(db, [act(0), plan("free", 1), act(2), act(3), plan("pro", 4), act(5)]);
        const by = async (breakdown: string) =>
          await db.rows(
            `select breakdown_value as value, event_count::int as events
             from analytics.trend('Grown', 'month', '2026-02-02Z', '2026-02-09Z', breakdown => $1)`,
            [breakdown],
          );
        expect(await by("trait_then.plan")).toEqual([
          { value: "free", events: 2 },
          { value: null, events: 1 },
          { value: "pro", events: 1 },
        ]);
        expect(await by("trait.plan")).toEqual([{ value: "pro", events: 4 }]);
      });
    });

    test("analysts see whole days only, whose sum is the figure without a breakdown", async () => {
      for (const sql of [
        "select * from analytics.trend(bucket => 'hour', breakdown => 'item')",
        "select * from analytics.trend(zone => 'Asia/Kolkata', breakdown => 'item')",
      ])
        await database.as("insights_analyst", {}, async (db) => {
          expect(await db.rejects(sql)).toMatchObject({ code: "CF001", hint: expect.stringContaining("UTC") });
        });
      const differing = await database.rows(
        `select bucket, breakdown, k
         from unnest('{day,week,month}'::text[]) as bucket
         cross join unnest('{item,property.x,set.counted}'::text[]) as breakdown
         cross join unnest('{1,3,6}'::int[]) as k
         cross join lateral analytics._bounds(bucket, '2026-01-20Z', '2026-03-20Z', 'UTC') as bounds
         cross join lateral (
           select array_agg((by_bucket.bucket, events) order by by_bucket.bucket) as sums
           from (
             select by_value.bucket, sum(by_value.event_count) as events
             from analytics._trend_by_value_of_groups(0, bounds, null, null, breakdown, 2, k) as by_value
             group by by_value.bucket
           ) as by_bucket
         ) as of_values
         cross join lateral (
           select array_agg((whole.bucket, whole.event_count::numeric) order by whole.bucket) as sums
           from analytics._trend_of_groups(0, bounds, k) as whole
         ) as of_all
         where of_values.sums is distinct from of_all.sums or of_all.sums is null and k < 6`,
      );
      expect(differing).toEqual([]);
    });

    test("the figures of groups without a breakdown are those of the rollup", async () => {
      expect(
        await database.rows(
          `select bucket, k, rollup.*, journeys.*
           from unnest('{day,week,month,year}'::text[]) as bucket
           cross join unnest('{1,2,4,7}'::int[]) as k
           cross join lateral analytics._bounds(bucket, '2026-01-20Z', '2026-03-20Z', 'UTC') as bounds
           cross join lateral (
             select * from analytics._trend_of_groups(0, bounds, k) as rollup
             full join analytics._trend_by_value_of_groups(0, bounds, null, null, null, 1, k) as journeys (
               value, is_other, bucket, events, people, engaged_time
             ) using (bucket)
             where (event_count, person_count, engaged)
               is distinct from (events, people, coalesce(engaged_time, '0'))
           ) as differing`.replace("bucket, k, rollup.*, journeys.*", "k, differing.*"),
        ),
      ).toEqual([]);
    });
  });

  test("a misspelt event is refused with the nearest name", async () => {
    const { hint } = await database.rejects("select * from analytics.trend('submitted tasks')");
    expect(hint).toContain('"Task Submitted"');
    const typed = await database.rejects("select * from analytics.trend('Task Submittd')");
    expect(typed.hint).toBe('Did you mean "Task Submitted"?');
  });

  test("is for analysts, admins and workers", async () => {
    expect(await rolesThatMay(database, "select * from analytics.trend('Task Submitted')")).toEqual([
      "analyst",
      "admin",
      "worker",
    ]);
  });
});
