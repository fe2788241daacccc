import { describe, expect, test } from "vitest";
import { activeIn, type Bucket, shownPeople, spans } from "../../support/activity.ts";
import { testDatabase } from "../../support/database.ts";
import { ofHours } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";
import { DAY, doings, iso, makeDoings, parents, start, withFloor } from "./doings.ts";

const database = await testDatabase();
await makeDoings(database);

describe("the numbers of people are those of the events", () => {
  const expected = (
    event: string | null,
    item: string | null,
    bucket: Bucket,
    since: number,
    until: number,
    orMore: boolean,
    floor: number,
  ): object[] => {
    const uses = doings.filter(
      (one) =>
        (event === null || one.event === event) && (item === null || one.item === item || parents[one.item] === item),
    );
    const active = spans(bucket, since, until).map((span) => activeIn(uses, span, floor));
    const times = new Map<string, number>();
    for (const people of active) for (const person of people) times.set(person, (times.get(person) ?? 0) + 1);
    const total = shownPeople(times.size, floor);
    return active.map((_, index) => {
      const people = [...times.values()].filter((of) => of === index + 1 || (orMore && of > index)).length;
      const shown = shownPeople(people, floor);
      return {
        bucket_count: index + 1,
        person_count: shown,
        share: total > 0 ? expect.closeTo(shown / total, 9) : null,
        is_complete: true,
      };
    });
  };

  const cases: [string, string | null, string | null, Bucket, number, number][] = [
    ["any event, by day", null, null, "day", start + 3 * DAY, start + 31 * DAY],
    ["an event, by day", "Task Submitted", null, "day", start + 2.5 * DAY, start + 12 * DAY],
    ["an event, by week", "Course Rated", null, "week", start, start + 60 * DAY],
    ["an item, by day", null, "page-a", "day", start, start + 30 * DAY],
    ["an event of a course, by day", "Task Submitted", "course-b", "day", start, start + 30 * DAY],
    ["one bucket", null, null, "month", start, start + DAY],
  ];
  for (const [name, event, item, bucket, since, until] of cases) {
    for (const floor of [1, 2, 4]) {
      for (const orMore of [false, true]) {
        test(`${name}, ${orMore ? "at least" : "exactly"}, floor ${floor}`, async () => {
          const rows = await withFloor(
            database,
            floor,
            `select bucket_count, person_count::int, share, is_complete
             from analytics.stickiness($1, $2, $3, $4, or_more => $5, item => $6)`,
            [event, bucket, iso(since), iso(until), orMore, item],
          );
          expect(rows).toEqual(expected(event, item, bucket, since, until, orMore, floor));
        });
      }
    }
  }
});

test("people in any number of up to a thousand sets are counted", async () => {
  // Person n of the block is in n sets: one person for each number.
  for (const sets of [1, 2, 7, 8, 31, 100]) {
    const counts = await database.as("postgres", {}, async (db) =>
      db.value(
        `select analytics._people_by_times(analytics._bit_counts(people), $1)::int[]
         from (
           select bit_or(track.person_bit(person)) as people
           from generate_series(1, $1::int) as set_number
           join generate_series(1, $1::int) as person on person >= set_number
           group by set_number
         ) as listed`,
        [sets],
      ),
    );
    expect(counts).toEqual(Array.from({ length: sets }, () => 1));
  }
  await database.as("postgres", {}, async (db) => {
    const everyDay = Array.from({ length: 1000 }, (_, day) =>
      message({ userId: "ada", event: "Opened", timestamp: iso(Date.UTC(2023, 0, 1 + day)) }),
    );
    await ingest(db, [...everyDay, message({ userId: "ben", event: "Opened", timestamp: "2023-05-01T00:00:00Z" })]);
    expect(
      await db.rows(
        `select bucket_count, person_count::int from analytics.stickiness('Opened', 'day', '2023-01-01Z', '2025-09-27Z') where person_count > 0`,
      ),
    ).toEqual([
      { bucket_count: 1, person_count: 1 },
      { bucket_count: 1000, person_count: 1 },
    ]);
    expect(
      await db.rejects("select * from analytics.stickiness('Opened', 'day', '2023-01-01Z', '2025-09-28Z')"),
    ).toMatchObject({ code: "CF008" });
  });
});

test("by set, among sets, and in a zone", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [
      // 22:30 and 23:30 of one day in UTC are two days in Berlin.
      message({ userId: "ada", event: "Opened", timestamp: "2026-05-04T21:30:00Z" }),
      message({ userId: "ada", event: "Opened", timestamp: "2026-05-04T22:30:00Z" }),
      message({ userId: "ben", event: "Opened", timestamp: "2026-05-04T12:00:00Z" }),
    ]);
    await db.query("select track.set_person_set('pilot', array[track.find_person('ada')], 'Pilot.')");
    const of = async (rest: string): Promise<unknown> =>
      await db.rows(
        `select breakdown_value as value, array_agg(person_count::int order by bucket_count) as people, min(zone) as zone
         from analytics.stickiness('Opened', 'day', '2026-05-04 00:00Z', '2026-05-06 00:00Z', ${rest}) group by 1 order by 1`,
      );
    expect(await of("zone => 'UTC'")).toEqual([{ value: null, people: [2, 0], zone: "UTC" }]);
    expect(await of("zone => 'Europe/Berlin'")).toEqual([{ value: null, people: [1, 1, 0], zone: "Europe/Berlin" }]);
    expect(await of("breakdown => 'set.pilot'")).toEqual([
      { value: "false", people: [1, 0], zone: "UTC" },
      { value: "true", people: [1, 0], zone: "UTC" },
    ]);
    expect(await of("among => '~pilot'")).toEqual([{ value: null, people: [1, 0], zone: "UTC" }]);
  });
});

test("for analysts, a longer period, one bucket more or less, and at least instead of exactly show no small group", async () => {
  await database.as("postgres", {}, async (db) => {
    const monday = Date.UTC(2026, 4, 4, 12);
    const ask = async (): Promise<unknown> => {
      const result = [];
      await db.query("set local role insights_analyst");
      for (const until of [3, 4, 5, 14])
        for (const orMore of [false, true])
          result.push(
            await db.rows("select * from analytics.stickiness('Opened', 'day', '2026-05-04Z', $1, or_more => $2)", [
              iso(Date.UTC(2026, 4, 4 + until)),
              orMore,
            ]),
          );
      await db.query("reset role");
      return result;
    };
    const opened = (userId: string, day: number): object =>
      message({ userId, event: "Opened", timestamp: iso(monday + day * DAY) });
    await ingest(
      db,
      [0, 1, 2].flatMap((day) => Array.from({ length: 15 }, (_, index) => opened(`many-${index}`, day))),
    );
    const without = await ask();
    expect(without).toMatchObject([[{}, {}, { person_count: "15" }], {}, {}, {}, {}, {}, {}, {}]);
    // Three of them come on one more day, and one someone.
    await ingest(db, [...[0, 1, 2].map((index) => opened(`many-${index}`, 3)), opened("someone", 3)]);
    expect(await ask()).toEqual(without);
  });
});

test.each([
  ["'Task Submited'", "CF002"],
  ["null, 'fortnight'", "CF001"],
  ["null, 'day', now(), now()", "CF001"],
  ["or_more => null", "CF001"],
  ["zone => 'Mars/Olympus'", "CF002"],
  ["item => 'page-z'", "CF002"],
  ["among => ''", "CF001"],
  ["breakdown => 'property.plan'", "CF001"],
  ["null, 'hour', now() - interval '50 days'", "CF008"],
])("stickiness(%s) is %s", async (given, code) => {
  expect(await database.rejects(`select * from analytics.stickiness(${given})`)).toMatchObject({ code });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.stickiness('Task Submitted')")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});

test("for analysts, days of a zone consist of hours, without small ones and the smallest other one of the day", async () => {
  const uses = doings.map((one) => ({ ...one, at: Math.floor(one.at / DAY) * DAY + (one.at % 3) * 8 * 3_600_000 }));
  await database.as("postgres", {}, async (db) => {
    await ingest(
      db,
      uses.map(({ person, at }) => message({ userId: person, event: "Opened", timestamp: iso(at) })),
    );
    for (const floor of [2, 3, 4]) {
      const shown = ofHours(uses, floor);
      const times = new Map<string, number>();
      const zone = 5 * 3_600_000;
      for (let day = 3; day < 31; day++) {
        const since = start + day * DAY - zone;
        for (const person of activeIn(shown, [since, since + DAY], 1)) times.set(person, (times.get(person) ?? 0) + 1);
      }
      await db.query("update analytics.setting set smallest_group = $1", [floor]);
      await db.query("set local role insights_analyst");
      const rows = await db.rows<{ people: number }>(
        `select person_count::int as people from analytics.stickiness('Opened', 'day', $1, $2, zone => 'Asia/Tashkent')`,
        [iso(start + 3 * DAY - zone), iso(start + 31 * DAY - zone)],
      );
      await db.query("reset role");
      expect(rows.map(({ people }) => people)).toEqual(
        Array.from({ length: 28 }, (_, index) =>
          shownPeople([...times.values()].filter((of) => of === index + 1).length, floor),
        ),
      );
      if (floor === 2) expect(rows.some(({ people }) => people > 0)).toBe(true);
    }
  });
});
