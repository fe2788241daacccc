import { describe, expect, test } from "vitest";
import {
  activeIn,
  type Bucket,
  both,
  type Span,
  shownPeople,
  spanOf,
  spans,
  together,
  without,
} from "../../support/activity.ts";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";
import { DAY, doings, iso, makeDoings, parents, start, withFloor } from "./doings.ts";

const database = await testDatabase();
await makeDoings(database);

const columns = "new_people::int, returning_people::int, resurrecting_people::int, dormant_people::int";

describe("the people of each bucket are those of the events", () => {
  const expected = (
    event: string | null,
    item: string | null,
    bucket: Bucket,
    since: number,
    until: number,
    floor: number,
  ): object[] => {
    const uses = doings.filter(
      (one) =>
        (event === null || one.event === event) && (item === null || one.item === item || parents[one.item] === item),
    );
    const asked = spans(bucket, since, until);
    const previous = spanOf(bucket, (asked[0] as Span)[0] - 1);
    const past: Span = [Number.NEGATIVE_INFINITY, previous[0]];
    const active = (span: Span): Set<string> => activeIn(uses, span, floor);
    const seen = (before: Span): Set<string> =>
      together(
        [past, previous, ...asked]
          .filter(([at]) => at < before[0])
          .flatMap((span) => [active(span), activeIn(doings, span, floor)]),
      );
    return asked.map((span, index) => {
      const now = active(span);
      const last = active(asked[index - 1] ?? previous);
      const fresh = without(now, seen(span));
      return {
        bucket_start: new Date(span[0]),
        new_people: shownPeople(fresh.size, floor),
        returning_people: shownPeople(both(now, last).size, floor),
        resurrecting_people: shownPeople(without(without(now, last), fresh).size, floor),
        dormant_people: shownPeople(without(last, now).size, floor),
        is_complete: true,
      };
    });
  };

  const cases: [string, string | null, string | null, Bucket, number, number][] = [
    ["any event, by week", null, null, "week", start - 8 * DAY, start + 45 * DAY],
    ["an event, by day", "Course Rated", null, "day", start + 2.5 * DAY, start + 20 * DAY],
    ["an event, by month", "Task Submitted", null, "month", start, start + 70 * DAY],
    ["an event of an item, by day", "Task Submitted", "course-b", "day", start, start + 12 * DAY],
    ["an item, by week", null, "page-a", "week", start, start + 45 * DAY],
  ];
  for (const [name, event, item, bucket, since, until] of cases) {
    for (const floor of [1, 2, 4]) {
      test(`${name}, floor ${floor}`, async () => {
        const rows = await withFloor(
          database,
          floor,
          `select bucket_start, ${columns}, is_complete from analytics.lifecycle($1, $2, $3, $4, item => $5)`,
          [event, bucket, iso(since), iso(until), item],
        );
        expect(rows).toEqual(expected(event, item, bucket, since, until, floor));
      });
    }
  }
});

test("new, returning, resurrecting and dormant people", async () => {
  await database.as("postgres", {}, async (db) => {
    const monday = Date.UTC(2026, 4, 4, 12);
    const did = (userId: string, event: string, weeks: number[]): object[] =>
      weeks.map((week) => message({ userId, event, timestamp: iso(monday + week * 7 * DAY) }));
    await ingest(db, [
      ...did("ada", "Opened", [0, 1, 3]),
      ...did("ben", "Opened", [1]),
      // cleo did something else before, and is not new; what she does later does not matter.
      ...did("cleo", "Searched", [0, 3]),
      ...did("cleo", "Opened", [2]),
      ...did("dan", "Opened", [-60, 0]),
    ]);
    const rows = await db.rows(
      `select to_char(bucket_start at time zone 'UTC', 'YYYY-MM-DD') as week, ${columns}
       from analytics.lifecycle('Opened', 'week', '2026-05-04Z', '2026-06-01Z')`,
    );
    const row = (week: string, fresh: number, returning: number, resurrecting: number, dormant: number): object => ({
      week,
      new_people: fresh,
      returning_people: returning,
      resurrecting_people: resurrecting,
      dormant_people: dormant,
    });
    expect(rows).toEqual([
      row("2026-05-04", 1, 0, 1, 0),
      row("2026-05-11", 1, 1, 0, 1),
      row("2026-05-18", 0, 0, 1, 2),
      row("2026-05-25", 0, 0, 1, 1),
    ]);
    // The same before and after the refresh, among sets and by value.
    await db.query("select track.set_person_set('pilot', array[track.find_person('ada')], 'Pilot.')");
    expect(
      await db.rows(
        `select breakdown_value as value, array_agg(array[new_people, returning_people, resurrecting_people, dormant_people]::int[] order by bucket_start) as people
         from analytics.lifecycle('Opened', 'week', '2026-05-04Z', '2026-05-18Z', breakdown => 'set.pilot') group by 1 order by 1`,
      ),
    ).toEqual([
      {
        value: "false",
        people: [
          [0, 0, 1, 0],
          [1, 0, 0, 1],
        ],
      },
      {
        value: "true",
        people: [
          [1, 0, 0, 0],
          [0, 1, 0, 0],
        ],
      },
    ]);
    expect(
      await db.rows(
        `select ${columns} from analytics.lifecycle('Opened', 'week', '2026-05-04Z', '2026-05-11Z', among => 'pilot')`,
      ),
    ).toEqual([{ new_people: 1, returning_people: 0, resurrecting_people: 0, dormant_people: 0 }]);
  });
});

test("an automatic event is an activity only when it is asked for", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [
      message({ userId: "ada", event: "Badge Awarded", timestamp: "2026-05-04T12:00:00Z" }),
      message({ userId: "ada", event: "Badge Awarded", timestamp: "2026-05-11T12:00:00Z" }),
      message({ userId: "ada", event: "Opened", timestamp: "2026-05-18T12:00:00Z" }),
    ]);
    const of = async (event: string): Promise<unknown> =>
      await db.value(
        `select array_agg(array[new_people, returning_people, resurrecting_people, dormant_people]::int[] order by bucket_start)
         from analytics.lifecycle(${event}, 'week', '2026-05-04Z', '2026-05-25Z')`,
      );
    expect(await of("'Badge Awarded'")).toEqual([
      [1, 0, 0, 0],
      [0, 1, 0, 0],
      [0, 0, 0, 1],
    ]);
    expect(await of("null")).toEqual([
      [0, 0, 0, 0],
      [0, 0, 0, 0],
      [1, 0, 0, 0],
    ]);
  });
});

test("for analysts, a small group cannot be computed from the other three numbers or the trend", async () => {
  await database.as("postgres", {}, async (db) => {
    const monday = Date.UTC(2026, 4, 4, 12);
    const did = (people: number, name: string, week: number): object[] =>
      Array.from({ length: people }, (_, index) =>
        message({ userId: `${name}-${index}`, event: "Opened", timestamp: iso(monday + week * 7 * DAY) }),
      );
    const ask = async (): Promise<unknown> => {
      await db.query("set local role insights_analyst");
      const rows = await db.rows("select * from analytics.lifecycle('Opened', 'week', '2026-05-04Z', '2026-06-01Z')");
      await db.query("reset role");
      return rows;
    };
    await ingest(db, [...did(20, "many", 0), ...did(20, "many", 1), ...did(20, "many", 2)]);
    const without = await ask();
    expect(without).toMatchObject([
      { new_people: "20", returning_people: "0" },
      { new_people: "0", returning_people: "20", dormant_people: "0" },
      { returning_people: "20" },
      { dormant_people: "20" },
    ]);
    // Two who are new among twenty others, and stay away: the row contains 0, as without them.
    await ingest(db, did(2, "few", 1));
    expect(await ask()).toEqual(without);
  });
});

test.each([
  ["'Task Submited'", "CF002"],
  ["null, 'fortnight'", "CF001"],
  ["null, null", "CF001"],
  ["null, 'week', now(), now()", "CF001"],
  ["null, 'day', zone => 'Europe/Berlyn'", "CF002"],
  ["item => 'page-z'", "CF002"],
  ["among => 'nobody_knows'", "CF002"],
  ["breakdown => 'property.plan'", "CF001"],
  ["breakdown => 'trait.plan', top_values => null", "CF001"],
  ["null, 'minute', now() - interval '20 days'", "CF008"],
  ["null, 'hour', now() - interval '100 days', breakdown => 'trait.plan', top_values => 100", "CF008"],
])("lifecycle(%s) is %s", async (given, code) => {
  expect(await database.rejects(`select * from analytics.lifecycle(${given})`)).toMatchObject({ code });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.lifecycle('Task Submitted')")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
