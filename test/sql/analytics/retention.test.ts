import { describe, expect, test } from "vitest";
import {
  activeIn,
  type Bucket,
  both,
  later,
  type Span,
  shownPeople,
  spans,
  together,
  without,
} from "../../support/activity.ts";
import { testDatabase } from "../../support/database.ts";
import type { Use } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";
import { DAY, doings, iso, makeDoings, parents, start, withFloor } from "./doings.ts";

const database = await testDatabase();
await makeDoings(database);

interface Cell {
  cohort_start: Date | null;
  cohort_size: number;
  period: number;
  person_count: number;
  share: number | null;
  is_complete: boolean;
}

interface Asked {
  event?: string | null;
  returned?: string | null;
  bucket?: Bucket;
  since?: number;
  until?: number;
  periods?: number;
  firstTime?: boolean;
  orAfter?: boolean;
  brackets?: number[] | null;
  reference?: "start" | "previous";
  mean?: "weighted" | "simple" | null;
  item?: string | null;
}

const usual = {
  event: "Task Submitted" as string | null,
  returned: null as string | null,
  bucket: "week" as Bucket,
  since: start + 8 * DAY,
  until: start + 30 * DAY,
  periods: 4,
  firstTime: false,
  orAfter: false,
  brackets: null as number[] | null,
  reference: "start",
  mean: "weighted" as string | null,
  item: null as string | null,
};

const usesOf = (event: string | null, item: string | null): Use[] =>
  doings.filter(
    (one) =>
      (event === null || one.event === event) && (item === null || one.item === item || parents[one.item] === item),
  );

/** The cells and the means, from the events alone. */
function expected(asked: Asked, floor: number): Cell[] {
  const given = { ...usual, ...asked };
  const starts = usesOf(given.event, given.item);
  const returns = usesOf(given.returned, given.item);
  const cohorts = spans(given.bucket, given.since, given.until);
  const lengths = given.brackets ?? Array.from({ length: given.periods }, () => 1);
  const periods = lengths.map((length, index) => {
    const end = lengths.slice(0, index + 1).reduce((sum, one) => sum + one, 0);
    return [end - length + 1, end] as const;
  });
  const last = periods.at(-1)?.[1] ?? 0;
  let seen = activeIn(starts, [Number.NEGATIVE_INFINITY, (cohorts[0] as Span)[0]], floor);
  const cells = cohorts.flatMap((cohort) => {
    const active = activeIn(starts, cohort, floor);
    const members = given.firstTime ? without(active, seen) : active;
    seen = together([seen, active]);
    const size = shownPeople(members.size, floor);
    let previous = size;
    return [[0, 0] as const, ...periods].map(([from, to], period) => {
      const until = given.orAfter ? last : to;
      const people = together(
        Array.from({ length: until - from + 1 }, (_, index) =>
          activeIn(returns, later(given.bucket, cohort, from + index), floor),
        ),
      );
      const count = period === 0 ? size : shownPeople(both(members, people).size, floor);
      const reference = period === 0 || given.reference === "start" ? size : previous;
      previous = count;
      return { cohort, size, period, count, reference, share: reference > 0 ? count / reference : null };
    });
  });
  const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);
  const rows = cells.map(
    ({ cohort, size, period, count, share }): Cell => ({
      cohort_start: new Date(cohort[0]),
      cohort_size: size,
      period,
      person_count: count,
      share: share === null ? null : (expect.closeTo(share, 9) as number),
      is_complete: true,
    }),
  );
  if (given.mean === null) return rows;
  const means = [0, ...periods.map((_, index) => index + 1)].map((period): Cell => {
    const of = cells.filter((cell) => cell.period === period);
    const shares = of.flatMap(({ share }) => (share === null ? [] : [share]));
    const total = sum(of.map(({ reference }) => reference));
    const mean =
      given.mean === "simple"
        ? shares.length > 0
          ? sum(shares) / shares.length
          : null
        : total > 0
          ? sum(of.map(({ count }) => count)) / total
          : null;
    return {
      cohort_start: null,
      cohort_size: sum(of.map(({ size }) => size)),
      period,
      person_count: sum(of.map(({ count }) => count)),
      share: mean === null ? null : (expect.closeTo(mean, 9) as number),
      is_complete: true,
    };
  });
  return [...rows, ...means];
}

const columns = "cohort_start, cohort_size::int, period, person_count::int, share, is_complete";
const call = `select ${columns} from analytics.retention($1, $2, $3, $4, $5, periods => $6, first_time => $7, or_after => $8,
  brackets => $9, reference => $10, mean => $11, item => $12)`;
const values = (asked: Asked): unknown[] => {
  const given = { ...usual, ...asked };
  return [
    given.event,
    given.returned,
    given.bucket,
    iso(given.since),
    iso(given.until),
    given.periods,
    given.firstTime,
    given.orAfter,
    given.brackets,
    given.reference,
    given.mean,
    given.item,
  ];
};

describe("the cells and means are those of the events", () => {
  const cases: [string, Asked][] = [
    ["recurring, by week", {}],
    ["the same event", { returned: "Task Submitted" }],
    ["another event", { event: "Course Rated", returned: "Task Submitted" }],
    ["any event", { event: null }],
    ["by day", { bucket: "day", since: start + 5 * DAY, until: start + 12 * DAY, periods: 7 }],
    ["by month", { bucket: "month", since: start - 20 * DAY, until: start + 45 * DAY, periods: 3 }],
    ["first-time", { firstTime: true, since: start - 7 * DAY }],
    ["first-time, since the beginning", { firstTime: true, since: start, event: "Course Rated" }],
    ["first-time by day", { firstTime: true, bucket: "day", since: start, until: start + 9 * DAY, periods: 12 }],
    ["on or after", { orAfter: true }],
    [
      "on or after by day",
      { orAfter: true, bucket: "day", until: start + 14 * DAY, periods: 9, event: "Course Rated" },
    ],
    ["brackets", { brackets: [1, 2, 4], bucket: "day", until: start + 16 * DAY }],
    [
      "brackets, on or after, first-time",
      { brackets: [3, 1, 5], bucket: "day", orAfter: true, firstTime: true, since: start },
    ],
    ["of the previous period", { reference: "previous", periods: 5 }],
    [
      "of the previous period, simple mean",
      { reference: "previous", mean: "simple", bucket: "day", until: start + 16 * DAY },
    ],
    ["simple mean", { mean: "simple" }],
    ["without means", { mean: null, orAfter: true, firstTime: true, since: start }],
    ["of an item and its parts", { item: "course-b" }],
    [
      "of a course, any event, first-time",
      { item: "course-b", event: null, firstTime: true, since: start, bucket: "day" },
    ],
  ];
  for (const [name, asked] of cases) {
    for (const floor of [1, 3, 5]) {
      test(`${name}, floor ${floor}`, async () => {
        const rows = await withFloor<Cell>(database, floor, call, values(asked));
        expect(rows).toEqual(expected(asked, floor));
      });
    }
  }

  test("the cases are not empty", () => {
    for (const [name, asked] of cases)
      expect([name, expected(asked, 3).some(({ person_count, period }) => period > 0 && person_count > 0)]).toEqual([
        name,
        true,
      ]);
  });
});

describe("published semantics", () => {
  /** People who do an event on days of a week that begins on a Monday. */
  const happen = async (
    db: Parameters<typeof ingest>[0],
    days: Record<string, number[]>,
    properties?: object,
  ): Promise<void> => {
    const monday = Date.UTC(2026, 4, 4, 12);
    await ingest(
      db,
      Object.entries(days).flatMap(([userId, of]) =>
        of.map((day) =>
          message({
            userId,
            event: "Opened",
            timestamp: iso(monday + day * DAY),
            ...(properties ? { properties } : {}),
          }),
        ),
      ),
    );
    await refresh(db);
  };
  const asked = "'Opened', 'Opened', 'day', '2026-05-04Z', '2026-05-07Z', periods => 3, mean => null";
  const triangle = "select array_agg(person_count::int order by cohort_start, period) from analytics.retention";
  const people = { ada: [0, 1, 2, 5], ben: [0, 2], cleo: [1, 2], dan: [2, 3] };

  test("recurring: a person belongs to the cohort of each period in which she did the event", async () => {
    await database.as("postgres", {}, async (db) => {
      await happen(db, people);
      expect(await db.value(`${triangle}(${asked})`)).toEqual([2, 1, 2, 0, 2, 2, 0, 0, 4, 1, 0, 1]);
      expect(await db.value(`${triangle}(${asked}, first_time => true)`)).toEqual([2, 1, 2, 0, 1, 1, 0, 0, 1, 1, 0, 0]);
      expect(await db.value(`${triangle}(${asked}, or_after => true)`)).toEqual([2, 2, 2, 0, 2, 2, 0, 0, 4, 2, 1, 1]);
    });
  });

  test("first-time: also before the period", async () => {
    await database.as("postgres", {}, async (db) => {
      await happen(db, { ...people, ada: [-400, 0, 1, 2, 5] });
      expect(await db.value(`${triangle}(${asked}, first_time => true)`)).toEqual([1, 0, 1, 0, 1, 1, 0, 0, 1, 1, 0, 0]);
    });
  });

  test("an item narrows first-time retention to the first event of the item", async () => {
    await database.as("postgres", {}, async (db) => {
      await happen(db, { ada: [-3] });
      await happen(db, { ada: [0, 1] }, { item: "page-a" });
      const rows = `${triangle}('Opened', 'Opened', 'day', '2026-05-04Z', '2026-05-05Z', periods => 1, mean => null, first_time => true`;
      expect(await db.value(`${rows})`)).toEqual([0, 0]);
      expect(await db.value(`${rows}, item => 'course-a')`)).toEqual([1, 1]);
    });
  });

  test("start and return event have the same value of a property; values of few people are one", async () => {
    await database.as("postgres", {}, async (db) => {
      await happen(db, { ada: [0], ben: [0], cleo: [0, 1] }, { plan: "pro" });
      await happen(db, { ada: [1], ben: [1], dan: [0, 1] }, { plan: "free" });
      await happen(db, { dan: [1], eve: [0] }, { plan: "trial" });
      await happen(db, { eve: [1], finn: [0] }, { plan: 7 });
      await happen(db, { finn: [1], gus: [0, 1] });
      const rows = await db.rows(
        `select breakdown_value as value, is_other, array_agg(person_count::int order by period) as people
         from analytics.retention('Opened', 'Opened', 'day', '2026-05-04Z', '2026-05-05Z', periods => 1, mean => null,
           breakdown => 'property.plan', top_values => 2)
         group by 1, 2 order by is_other, value`,
      );
      // Of the values that one person started with, 7 is the first in order. dan returns with other ones, eve with 7.
      expect(rows).toEqual([
        { value: "7", is_other: false, people: [1, 0] },
        { value: "pro", is_other: false, people: [3, 1] },
        { value: null, is_other: false, people: [1, 1] },
        { value: null, is_other: true, people: [2, 1] },
      ]);
    });
  });

  test("by trait and by set, and among sets", async () => {
    await database.as("postgres", {}, async (db) => {
      await happen(db, people);
      await ingest(db, [
        { type: "identify", messageId: "t1", userId: "ada", traits: { plan: "pro" } },
        { type: "identify", messageId: "t2", userId: "dan", traits: { plan: "pro" } },
        { type: "identify", messageId: "t3", userId: "ben", traits: { plan: "free" } },
      ]);
      await db.query(
        "select track.set_person_set('pilot', array[track.find_person('ada'), track.find_person('ben')], 'Pilot.')",
      );
      const by = async (rest: string): Promise<unknown> =>
        await db.rows(
          `select breakdown_value as value, is_other, array_agg(person_count::int order by cohort_start, period) as people
           from analytics.retention(${asked}, ${rest}) group by 1, 2 order by is_other, value`,
        );
      expect(await by("breakdown => 'trait.plan'")).toEqual([
        { value: "free", is_other: false, people: [1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0] },
        { value: "pro", is_other: false, people: [1, 1, 1, 0, 1, 1, 0, 0, 2, 1, 0, 1] },
        { value: null, is_other: false, people: [0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0, 0] },
      ]);
      expect(await by("breakdown => 'set.pilot'")).toEqual([
        { value: "false", is_other: false, people: [0, 0, 0, 0, 1, 1, 0, 0, 2, 1, 0, 0] },
        { value: "true", is_other: false, people: [2, 1, 2, 0, 1, 1, 0, 0, 2, 0, 0, 1] },
      ]);
      expect(await by("among => '~pilot'")).toEqual([
        { value: null, is_other: false, people: [0, 0, 0, 0, 1, 1, 0, 0, 2, 1, 0, 0] },
      ]);
    });
  });

  test("in a zone, hours and days are its own", async () => {
    await database.as("postgres", {}, async (db) => {
      // 23:30 and 00:30 in Berlin: two days, one of them in the summer hour that is skipped.
      await ingest(db, [
        message({ userId: "ada", event: "Opened", timestamp: "2026-03-27T22:30:00Z" }),
        message({ userId: "ada", event: "Opened", timestamp: "2026-03-27T23:30:00Z" }),
        message({ userId: "ada", event: "Opened", timestamp: "2026-03-29T01:30:00Z" }),
      ]);
      const cells = async (bucket: string, zone: string, since: string, until: string): Promise<unknown> =>
        await db.rows(
          `select to_char(cohort_start at time zone 'UTC', 'DD HH24:MI') as cohort, array_agg(person_count::int order by period) as people, min(zone) as zone
           from analytics.retention('Opened', 'Opened', $1, $2, $3, $4, periods => 2, mean => null) group by 1 order by 1`,
          [bucket, since, until, zone],
        );
      expect(await cells("day", "UTC", "2026-03-27Z", "2026-03-28Z")).toEqual([
        { cohort: "27 00:00", people: [1, 0, 1], zone: "UTC" },
      ]);
      expect(await cells("day", "Europe/Berlin", "2026-03-27T12:00Z", "2026-03-28T12:00Z")).toEqual([
        { cohort: "26 23:00", people: [1, 1, 1], zone: "Europe/Berlin" },
        { cohort: "27 23:00", people: [1, 1, 0], zone: "Europe/Berlin" },
      ]);
      expect(await cells("hour", "Asia/Kolkata", "2026-03-27T22:30Z", "2026-03-27T23:00Z")).toEqual([
        { cohort: "27 22:30", people: [1, 1, 0], zone: "Asia/Kolkata" },
      ]);
    });
  });

  test("periods that have not ended are not complete, and not in the means; those to come are absent", async () => {
    await database.as("postgres", {}, async (db) => {
      const day = (back: number): string => new Date(Date.now() - back * DAY).toISOString();
      await ingest(
        db,
        ["ada", "ben"].flatMap((userId) =>
          [2, 1, 0].map((back) => message({ userId, event: "Opened", timestamp: day(back) })),
        ),
      );
      const rows = await db.rows<Cell & { age: number | null }>(
        `select (extract(epoch from date_trunc('day', now(), 'UTC') - cohort_start) / 86400)::int as age, period,
           person_count::int, share, is_complete, cohort_size::int
         from analytics.retention('Opened', 'Opened', 'day', now() - interval '2 days', now() + interval '5 days', periods => 3)`,
      );
      expect(
        rows.map(({ age, period, person_count, is_complete }) => [age, period, person_count, is_complete]),
      ).toEqual([
        [2, 0, 2, true],
        [2, 1, 2, true],
        [2, 2, 2, false],
        [1, 0, 2, true],
        [1, 1, 2, false],
        [0, 0, 2, false],
        [null, 0, 4, true],
        [null, 1, 2, true],
      ]);
    });
  });
});

describe("for analysts", () => {
  test("the difference of two answers is not a small group", async () => {
    await database.as("postgres", {}, async (db) => {
      const monday = Date.UTC(2026, 4, 4, 12);
      const many = Array.from({ length: 12 }, (_, index) => `many-${index}`);
      const opened = (userId: string, week: number): object =>
        message({ userId, event: "Opened", timestamp: iso(monday + week * 7 * DAY) });
      const ask = async (): Promise<unknown> => {
        const result = [];
        await db.query("set local role insights_analyst");
        for (const rest of [
          "",
          ", or_after => true",
          ", brackets => '{1,1,1}'",
          ", brackets => '{2,1}'",
          ", first_time => true",
        ])
          for (const bucket of ["day", "week", "month"])
            result.push(
              await db.rows(
                `select * from analytics.retention('Opened', null, $1, '2026-05-04Z', '2026-06-08Z', periods => 3${rest})`,
                [bucket],
              ),
            );
        await db.query("reset role");
        return result;
      };
      await ingest(
        db,
        [0, 1, 3].flatMap((week) => many.map((userId) => opened(userId, week))),
      );
      const without = await ask();
      // Four people come back in week 2 alone: on or after, brackets and means do not show them.
      await ingest(
        db,
        many.slice(0, 4).map((userId) => opened(userId, 2)),
      );
      expect(await ask()).toEqual(without);
      // Nor of any number of invented browsers.
      await ingest(
        db,
        [0, 1, 2, 3].flatMap((week) =>
          Array.from({ length: 9 }, (_, index) =>
            message({
              userId: undefined,
              anonymousId: `invented-${index}`,
              event: "Opened",
              timestamp: iso(monday + week * 7 * DAY),
            }),
          ),
        ),
      );
      expect(await ask()).toEqual(without);
    });
  });

  test("a value of few people is not named", async () => {
    await database.as("postgres", {}, async (db) => {
      const opened = (userId: string, plan: string): object =>
        message({ userId, event: "Opened", timestamp: "2026-05-04T12:00:00Z", properties: { plan } });
      await ingest(db, [
        ...Array.from({ length: 7 }, (_, index) => opened(`many-${index}`, "pro")),
        ...Array.from({ length: 4 }, (_, index) => opened(`few-${index}`, "secret")),
      ]);
      await db.query("set local role insights_analyst");
      const rows = await db.rows(
        `select distinct breakdown_value as value, is_other from analytics.retention('Opened', null, 'week', '2026-05-04Z', '2026-05-11Z', breakdown => 'property.plan')`,
      );
      expect(rows).toEqual([{ value: "pro", is_other: false }]);
    });
  });
});

test.each([
  ["'Task Submited'", "CF002"],
  ["null, 'Task Submited'", "CF002"],
  ["null, null, 'fortnight'", "CF001"],
  ["null, null, null", "CF001"],
  ["null, null, 'week', now(), now() - interval '1 day'", "CF001"],
  ["null, null, 'week', null", "CF001"],
  ["null, null, 'day', zone => 'Europe/Berlyn'", "CF002"],
  ["null, null, 'day', zone => null", "CF002"],
  ["periods => 0", "CF001"],
  ["periods => null", "CF001"],
  ["periods => 1001", "CF001"],
  ["brackets => '{}'", "CF001"],
  ["brackets => '{1,0}'", "CF001"],
  ["brackets => '{1,null}'", "CF001"],
  ["brackets => '{2147483647,2147483647}'", "CF001"],
  ["brackets => array_fill(1, array[101])", "CF001"],
  ["first_time => null", "CF001"],
  ["or_after => null", "CF001"],
  ["reference => 'first'", "CF001"],
  ["mean => 'median'", "CF001"],
  ["item => 'page-z'", "CF002"],
  ["among => 'nobody_knows'", "CF002"],
  ["among => 'a | b'", "CF001"],
  ["breakdown => 'plan'", "CF001"],
  ["breakdown => 'property.'", "CF001"],
  ["breakdown => 'property.plan', top_values => 0", "CF001"],
  ["breakdown => 'trait.plan', top_values => 101", "CF001"],
  ["null, null, 'minute', now() - interval '2 days', periods => 1000", "CF008"],
  ["null, null, 'day', '-infinity', 'infinity'", "CF008"],
  [
    "null, null, 'day', now() - interval '100 days', periods => 30, breakdown => 'trait.plan', top_values => 100",
    "CF008",
  ],
  ["null, null, 'hour', now() - interval '400 days', periods => 1000", "CF008"],
])("retention(%s) is %s", async (given, code) => {
  expect(await database.rejects(`select * from analytics.retention(${given})`)).toMatchObject({ code });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.retention('Task Submitted')")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
