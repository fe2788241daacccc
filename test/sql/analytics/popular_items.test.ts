import { beforeAll, describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";
import { ingest, type Message, message, refresh } from "../track/messages.ts";

const database = await testDatabase();

const DAY = 86_400_000;
const start = Date.parse("2026-02-02T00:00:00Z"); // a Monday
const rounded = (score: number): number => Math.round(score * 1e9);
const iso = (time: number): string => new Date(time).toISOString();

interface Doing {
  person: string;
  at: number;
  event: string;
  item: string;
}

const parents: Record<string, string> = { "page-a": "course-a", "page-b": "course-b", "page-c": "course-b" };
const doings: Doing[] = [];

/** Forty days of twelve people. Nothing follows within a session, so that engaged time is 0; the dwell test has its own. */
beforeAll(async () => {
  const random = generator(7);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  for (let index = 0; index < 600; index++) {
    doings.push({
      person: `p${Math.floor(random() * 12)}`,
      at: start + Math.floor(random() * 40 * DAY),
      event: pick(["Task Submitted", "Task Submitted", "Course Rated"]),
      item: pick(["page-a", "page-b", "page-b", "page-c", "course-a", "loner"]),
    });
  }
  // On the very edges of days.
  for (const at of [start, start + DAY - 1, start + 10 * DAY, start + 10 * DAY - 1]) {
    doings.push({ person: "p1", at, event: "Course Rated", item: "page-a" });
  }
  await ingest(
    database,
    Object.entries({ ...parents, "course-a": "", "course-b": "" }).map(([item, parent]) =>
      message({
        userId: "catalogue",
        event: "Published",
        timestamp: "2020-01-01T00:00:00Z",
        properties: {
          item,
          itemKind: item.startsWith("page") ? "page" : "course",
          ...(parent === "" ? {} : { parent }),
        },
      }),
    ),
  );
  const messages = doings.map(
    ({ person, at, event, item }): Message =>
      message({ userId: person, timestamp: iso(at), event, properties: { item } }),
  );
  // In halves, the later first, with refreshes in between.
  await ingest(database, messages.slice(300));
  await refresh(database, 3);
  await ingest(database, messages.slice(0, 300));
  await refresh(database, 5);
});

const withFloor = async <T extends object>(floor: number, sql: string, values: unknown[] = []): Promise<T[]> =>
  await database.as("postgres", {}, async (db) => {
    await db.query("update analytics.setting set smallest_group = $1", [floor]);
    return await db.rows<T>(sql, values);
  });

const periods: [string, number, number][] = [
  ["whole days", start + 5 * DAY, start + 20 * DAY],
  ["from and to the middle of days", start + 5.4 * DAY, start + 20.7 * DAY],
  ["within one day", start + 10.1 * DAY, start + 10.6 * DAY],
  ["over one midnight", start + 9.9 * DAY, start + 10.2 * DAY],
  ["exactly one day", start + 10 * DAY, start + 11 * DAY],
  ["a millisecond", start + 10 * DAY - 1, start + 10 * DAY],
];

interface Popular {
  rank: number;
  item: string;
  event_count: string;
  person_count: string;
  score: number;
}

describe("popular_items", () => {
  const expected = (
    kind: string | null,
    since: number,
    until: number,
    measure: "events" | "people",
    halfLife?: number,
  ) => {
    const items = new Map<string, { events: number; decayed: number; people: Map<string, number> }>();
    for (const { person, at, item } of doings) {
      if (at < since || at >= until) continue;
      const own = kind === null ? [item] : [item, parents[item]].filter((name) => name?.startsWith(kind));
      const age = Math.floor(until / DAY) - Math.floor(at / DAY);
      const weight = halfLife === undefined ? 1 : 0.5 ** (age / halfLife);
      for (const name of own) {
        if (name === undefined) continue;
        const sum = items.get(name) ?? { events: 0, decayed: 0, people: new Map() };
        sum.events += 1;
        sum.decayed += weight;
        sum.people.set(person, Math.max(sum.people.get(person) ?? 0, weight));
        items.set(name, sum);
      }
    }
    return [...items]
      .map(([item, { events, decayed, people }]) => ({
        item,
        event_count: String(events),
        person_count: String(people.size),
        score: measure === "events" ? decayed : [...people.values()].reduce((sum, weight) => sum + weight, 0),
      }))
      .toSorted(
        (a, b) =>
          rounded(b.score) - rounded(a.score) ||
          Number(b.event_count) - Number(a.event_count) ||
          (a.item < b.item ? -1 : 1),
      );
  };

  for (const [name, since, until] of periods) {
    for (const measure of ["events", "people"] as const) {
      for (const kind of [null, "course", "page"]) {
        for (const halfLife of [undefined, 3]) {
          test(`${name}, by ${measure}, kind ${kind}, half-life ${halfLife}`, async () => {
            const rows = await withFloor<Popular>(
              1,
              "select rank, item, event_count, person_count, score from analytics.popular_items($1, $2, $3, $4::interval, 10, $5)",
              [kind, iso(since), iso(until), halfLife === undefined ? null : `${halfLife} days`, measure],
            );
            expect(rows).toEqual(
              expected(kind, since, until, measure, halfLife).map((row, place) => ({
                rank: place + 1,
                ...row,
                score: expect.closeTo(row.score, 8),
              })),
            );
          });
        }
      }
    }
  }

  test("by engaged time, of what a course contains", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query("update analytics.setting set smallest_group = 1");
      const at = (second: number) => iso(start + 100 * 1000 + second * 1000);
      const view = (userId: string, item: string, second: number) =>
        message({ userId, type: "page", timestamp: at(second), properties: { item } });
      await ingest(db, [
        view("reader", "page-b", 0),
        view("reader", "page-a", 90),
        message({ userId: "reader", timestamp: at(100) }),
      ]);
      await refresh(db);
      for (const until of [start + DAY, start + DAY / 2]) {
        expect(
          await db.rows(
            "select item, extract(epoch from engaged)::int as engaged, score from analytics.popular_items('course', $1, $2, null, 10, 'engaged') where engaged > '0'",
            [iso(start), iso(until)],
          ),
        ).toEqual([
          { item: "course-b", engaged: 90, score: 90 },
          { item: "course-a", engaged: 10, score: 10 },
        ]);
      }
    });
  });

  test("top cuts, infinite periods are all of time, a tiny half-life is no error", async () => {
    const all = await withFloor<Popular>(
      1,
      "select * from analytics.popular_items(null, '-infinity', 'infinity', null, 10000, 'events')",
    );
    expect(all.reduce((sum, row) => sum + Number(row.event_count), 0)).toBe(doings.length + 5);
    const top = await withFloor<Popular>(
      1,
      "select * from analytics.popular_items(null, '-infinity', 'infinity', null, 2, 'events')",
    );
    expect(top).toEqual(all.slice(0, 2));
    const aged = await withFloor<Popular>(
      1,
      "select * from analytics.popular_items(null, $1, $2, '1 second', 10, 'events')",
      [iso(start), iso(start + 40 * DAY)],
    );
    expect(aged.length).toBeGreaterThan(0);
    expect(aged.every(({ score }) => score >= 0 && score < 1e-9)).toBe(true);
  });

  test("items with fewer people than the floor are left out; nobody is not a person", async () => {
    const [since, until] = [start + 10.1 * DAY, start + 10.6 * DAY];
    const open = expected(null, since, until, "events");
    const floor = Math.max(...open.map((row) => Number(row.person_count)));
    const rows = await withFloor<Popular>(
      floor,
      "select item from analytics.popular_items(null, $1, $2, null, 10, 'events')",
      [iso(since), iso(until)],
    );
    expect(rows.map(({ item }) => item)).toEqual(
      open.filter((row) => Number(row.person_count) >= floor).map(({ item }) => item),
    );
    expect(rows.length).toBeLessThan(open.length);
    await database.as("postgres", {}, async (db) => {
      await db.query("update analytics.setting set smallest_group = 1");
      const objecting = {
        context: { consent: { categoryPreferences: { analytics: false } } },
        timestamp: iso(start + 50 * DAY),
      };
      await ingest(db, [message({ userId: "shy", ...objecting, properties: { item: "quiet" } })]);
      await refresh(db);
      expect(await db.value("select event_count from analytics.activity where person_id = 0")).toBe(1);
      expect(
        await db.rows("select item from analytics.popular_items(null, $1, $2, null, 10, 'events')", [
          iso(start + 50 * DAY),
          iso(start + 51 * DAY),
        ]),
      ).toEqual([]);
    });
  });

  test.each([
    ["'course', '2026-01-02', '2026-01-01'", "CF001"],
    ["'course', '2026-01-01', '2026-01-01'", "CF001"],
    ["'course', null, now()", "CF001"],
    ["'course', now() - interval '1 day', now(), '0'", "CF001"],
    ["'course', now() - interval '1 day', now(), '-1 day'", "CF001"],
    ["'course', now() - interval '1 day', now(), null, 0", "CF001"],
    ["'course', now() - interval '1 day', now(), null, null", "CF001"],
    ["'course', now() - interval '1 day', now(), null, 10001", "CF001"],
    ["'course', now() - interval '1 day', now(), null, 10, 'likes'", "CF001"],
    ["'course', now() - interval '1 day', now(), null, 10, null", "CF001"],
    ["'planet'", "CF002"],
    ["'''; drop table track.event; --'", "CF002"],
  ])("popular_items(%s) is %s, with a hint", async (values, code) => {
    const error = await database.rejects(`select * from analytics.popular_items(${values})`);
    expect(error).toMatchObject({ code });
    expect(error.hint).toBeTruthy();
  });

  test("analysts may ask, learners and visitors may not, and nobody of them reads the rollup", async () => {
    for (const role of ["insights_analyst", "insights_admin"]) {
      await database.as(role, {}, async (db) =>
        expect(
          (await db.rows("select * from analytics.popular_items('course', '-infinity', 'infinity')")).length,
        ).toBeGreaterThan(0),
      );
    }
    for (const role of ["insights_learner", "insights_visitor"]) {
      await database.as(role, {}, async (db) =>
        expect(await db.rejects("select * from analytics.popular_items('course')")).toMatchObject({ code: "42501" }),
      );
    }
    for (const relation of [
      "analytics.activity",
      "analytics.item_popularity",
      "track.event",
      "track.person",
      "track.session",
    ]) {
      await database.as("insights_analyst", {}, async (db) =>
        expect(await db.rejects(`select * from ${relation}`)).toMatchObject({ code: "42501" }),
      );
    }
  });
});

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
          const rows = await withFloor(floor, "select * from analytics.trend('Task Submitted', $1, $2, $3, $4)", [
            bucket,
            iso(since),
            iso(until),
            windowSize,
          ]);
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

  test("a misspelt event is told the nearest name", async () => {
    const { hint } = await database.rejects("select * from analytics.trend('submitted tasks')");
    expect(hint).toContain('"Task Submitted"');
  });
});

describe("item_popularity", () => {
  test("is what the rollup says of each item and all below it", async () => {
    const count = await database.value("select analytics.refresh_views()");
    expect(await database.value("select analytics.refresh_views()")).toBe(count);
    const newest = Math.max(...doings.map(({ at }) => Math.floor(at / DAY)));
    const mine = doings.filter(({ item }) => item === "course-b" || parents[item] === "course-b");
    const published = 2; // by the catalogue, in 2020: page-b and page-c, and course-b itself
    const [row] = await database.rows<Record<string, unknown>>(
      "select event_count::int, person_count::int, last_day::text, decayed_event_count from analytics.item_popularity join track.item using (item_id) where external_id = 'course-b'",
    );
    expect(row).toEqual({
      event_count: mine.length + published + 1,
      person_count: new Set(mine.map(({ person }) => person)).size + 1,
      last_day: iso(Math.max(...mine.map(({ at }) => at))).slice(0, 10),
      decayed_event_count: expect.closeTo(
        mine.reduce((sum, { at }) => sum + 0.5 ** ((newest - Math.floor(at / DAY)) / 30), 0),
        6,
      ),
    });
  });
});

describe("refresh_activity", () => {
  test("refuses to do nothing", async () => {
    for (const people of ["0", "-1", "null"]) {
      expect(await database.rejects(`select analytics.refresh_activity(${people})`)).toMatchObject({ code: "CF001" });
      expect(await database.rejects(`select track.refresh_sessions(${people})`)).toMatchObject({ code: "CF001" });
    }
  });
});
