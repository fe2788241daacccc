import { describe, expect, test } from "vitest";
import { activeIn, shownPeople, spans } from "../../support/activity.ts";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";
import { DAY, doings, iso, makeDoings, parents, start, withFloor } from "./doings.ts";

const database = await testDatabase();
await makeDoings(database);

describe("the numbers of people are those of the events", () => {
  const expected = (
    event: string | null,
    item: string | null,
    since: number,
    until: number,
    windows: number[],
    floor: number,
  ): object[] => {
    const uses = doings.filter(
      (one) =>
        (event === null || one.event === event) && (item === null || one.item === item || parents[one.item] === item),
    );
    const people = (end: number, days: number): number =>
      shownPeople(activeIn(uses, [end - days * DAY, end], floor).size, floor);
    return [...new Set(windows)]
      .toSorted((a, b) => a - b)
      .flatMap((days) =>
        spans("day", since, until).map(([at, end]) => {
          const count = people(end, days);
          return {
            bucket_start: new Date(at),
            window_days: days,
            person_count: count,
            stickiness: count > 0 ? expect.closeTo(people(end, 1) / count, 9) : null,
            is_complete: true,
          };
        }),
      );
  };

  const cases: [string, string | null, string | null, number, number, number[]][] = [
    ["daily, weekly and monthly", null, null, start + 2 * DAY, start + 50 * DAY, [1, 7, 30]],
    ["one event, other windows", "Course Rated", null, start - 3 * DAY, start + 20.5 * DAY, [13, 2, 2, 14]],
    ["one window", "Task Submitted", null, start + 10 * DAY, start + 11 * DAY, [28]],
    ["a long window", "Task Submitted", null, start + 10 * DAY, start + 60 * DAY, [366, 8]],
    ["an item", null, "page-a", start, start + 30 * DAY, [1, 7, 9]],
    ["an event of a course", "Task Submitted", "course-b", start, start + 30 * DAY, [1, 5, 30]],
  ];
  for (const [name, event, item, since, until, windows] of cases) {
    for (const floor of [1, 3, 4, 6]) {
      test(`${name}, floor ${floor}`, async () => {
        const rows = await withFloor(
          database,
          floor,
          `select bucket_start, window_days, person_count::int, stickiness, is_complete
           from analytics.active_people($1, $2, $3, windows => $4, item => $5)`,
          [event, iso(since), iso(until), windows, item],
        );
        expect(rows).toEqual(expected(event, item, since, until, windows, floor));
      });
    }
  }
});

test("in a zone, days are its own, also when the clocks change", async () => {
  await database.as("postgres", {}, async (db) => {
    // Newfoundland: the day of 8 March 2026 has 23 hours.
    await ingest(db, [
      message({ userId: "ada", event: "Opened", timestamp: "2026-03-08T03:29:00Z" }),
      message({ userId: "ben", event: "Opened", timestamp: "2026-03-08T03:31:00Z" }),
      message({ userId: "cleo", event: "Opened", timestamp: "2026-03-09T02:29:00Z" }),
      message({ userId: "dan", event: "Opened", timestamp: "2026-03-09T02:31:00Z" }),
    ]);
    const rows = await db.rows(
      `select to_char(bucket_start at time zone zone, 'DD HH24:MI') as day, window_days, person_count::int as people
       from analytics.active_people('Opened', '2026-03-07 12:00Z', '2026-03-09 12:00Z', 'America/St_Johns', '{1,2}')
       order by window_days, bucket_start`,
    );
    expect(rows).toEqual([
      { day: "07 00:00", window_days: 1, people: 1 },
      { day: "08 00:00", window_days: 1, people: 2 },
      { day: "09 00:00", window_days: 1, people: 1 },
      { day: "07 00:00", window_days: 2, people: 1 },
      { day: "08 00:00", window_days: 2, people: 3 },
      { day: "09 00:00", window_days: 2, people: 3 },
    ]);
  });
});

test("by trait, among sets, and without people", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [
      message({ userId: "ada", event: "Opened", timestamp: "2026-05-04T12:00:00Z" }),
      message({ userId: "ben", event: "Opened", timestamp: "2026-05-05T12:00:00Z" }),
      message({ userId: "cleo", event: "Opened", timestamp: "2026-05-05T12:00:00Z" }),
      ...[
        ["ada", "pro"],
        ["ben", "free"],
        ["cleo", "trial"],
      ].map(([userId, plan]) => ({
        type: "identify",
        messageId: `trait ${userId}`,
        userId,
        traits: { plan },
      })),
    ]);
    const of = async (rest: string): Promise<unknown> =>
      await db.rows(
        `select breakdown_value as value, is_other, array_agg(person_count::int order by window_days, bucket_start) as people
         from analytics.active_people('Opened', '2026-05-04Z', '2026-05-06Z', windows => '{1,2}', ${rest})
         group by 1, 2 order by is_other, value`,
      );
    expect(await of("breakdown => 'trait.plan', top_values => 2")).toEqual([
      { value: "free", is_other: false, people: [0, 1, 0, 1] },
      { value: "pro", is_other: false, people: [1, 0, 1, 1] },
      { value: null, is_other: true, people: [0, 1, 0, 1] },
    ]);
    await db.query("select track.set_person_set('pilot', array[track.find_person('ada')], 'Pilot.')");
    expect(await of("among => '~pilot'")).toEqual([{ value: null, is_other: false, people: [0, 2, 0, 2] }]);
    await db.query("select track.set_person_set('empty', '{}', 'Nobody.')");
    expect(await of("among => 'empty'")).toEqual([{ value: null, is_other: false, people: [0, 0, 0, 0] }]);
    expect(await of("among => 'empty', breakdown => 'trait.plan'")).toEqual([]);
  });
});

test("the current day is not complete", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [
      message({ userId: "ada", event: "Opened", timestamp: new Date(Date.now() - 1000).toISOString() }),
    ]);
    const rows = await db.rows<{ is_complete: boolean; person_count: number }>(
      `select is_complete, person_count::int
       from analytics.active_people('Opened', now() - interval '1 day', now() + interval '1 minute', windows => '{3}')
       order by bucket_start`,
    );
    expect(rows.map(({ is_complete }) => is_complete)).toEqual([true, false, ...rows.slice(2).map(() => false)]);
    expect(rows.some(({ person_count }) => person_count === 1)).toBe(true);
  });
});

test("for analysts, a window that moves by a day shows no small day", async () => {
  await database.as("postgres", {}, async (db) => {
    const monday = Date.UTC(2026, 4, 4, 12);
    const opened = (userId: string, day: number): object =>
      message({ userId, event: "Opened", timestamp: iso(monday + day * DAY) });
    const ask = async (): Promise<unknown> => {
      await db.query("set local role insights_analyst");
      const rows = await db.rows(
        "select * from analytics.active_people('Opened', '2026-04-20Z', '2026-06-20Z', windows => '{1,2,6,7,8,13,30}')",
      );
      await db.query("reset role");
      return rows;
    };
    await ingest(
      db,
      [0, 1, 2, 8, 9].flatMap((day) => Array.from({ length: 7 }, (_, index) => opened(`many-${index}`, day))),
    );
    const without = await ask();
    // One learner more would change the rounded number: 8 people are shown as 10. A small day counts nowhere.
    await ingest(db, [opened("someone", 4), opened("many-1", 4), opened("other", 11)]);
    expect(await ask()).toEqual(without);
    // With three others the small days of the week are a group: in windows that contain the whole week, and in no other.
    await ingest(db, [opened("third", 3), opened("fourth", 3), opened("fifth", 3)]);
    const changed = (await ask()) as { bucket_start: Date; window_days: number; person_count: string }[];
    const differing = changed.filter(
      (row, index) => JSON.stringify(row) !== JSON.stringify((without as unknown[])[index]),
    );
    expect(differing.length).toBeGreaterThan(0);
    const nextMonday = Date.UTC(2026, 4, 11);
    for (const { bucket_start, window_days } of differing) {
      const end = bucket_start.getTime() + DAY;
      expect(end >= nextMonday && end - window_days * DAY <= nextMonday - 7 * DAY).toBe(true);
    }
  });
});

test.each([
  ["'Task Submited'", "CF002"],
  ["null, now(), now()", "CF001"],
  ["windows => '{}'", "CF001"],
  ["windows => null", "CF001"],
  ["windows => '{0}'", "CF001"],
  ["windows => '{367}'", "CF001"],
  ["windows => '{null}'", "CF001"],
  ["windows => '{1,2,3,4,5,6,7,8,9,10,11}'", "CF001"],
  ["zone => 'Mars/Olympus'", "CF002"],
  ["item => 'page-z'", "CF002"],
  ["among => '&'", "CF001"],
  ["breakdown => 'property.plan'", "CF001"],
  ["null, now() - interval '7000 days'", "CF008"],
  ["null, now() - interval '400 days', windows => '{1,2,3,4,5}', breakdown => 'trait.plan'", "CF008"],
])("active_people(%s) is %s", async (given, code) => {
  expect(await database.rejects(`select * from analytics.active_people(${given})`)).toMatchObject({ code });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.active_people('Task Submitted')")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
