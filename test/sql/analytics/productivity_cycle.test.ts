import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { groupBy, ofGroups, shown } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, refresh } from "../track/messages.ts";
import { enrolments, makeEnrolments } from "./course_takers.ts";
import { DAY, type Doing, doings, iso, makeDoings, parents, start, withFloor } from "./doings.ts";

const database = await testDatabase();
await makeDoings(database);
await makeEnrolments(database);
const zones: Record<string, string> = {
  p0: "Asia/Kolkata",
  p1: "America/St_Johns",
  p2: "Europe/Berlin",
  p3: "Pacific/Chatham",
  p4: "Mars/Olympus",
};
await ingest(
  database,
  Object.entries(zones).map(([userId, timezone]) => ({
    type: "identify",
    messageId: `zone ${userId}`,
    userId,
    traits: { name: userId },
    context: { timezone },
  })),
);
await refresh(database);

interface Hour {
  hour: number;
  hours: number;
  people: number;
}

/** Day and hour in a zone, as in "2026-02-03 17". */
const localHour = (at: number, zone: string): string =>
  new Intl.DateTimeFormat("sv-SE", {
    timeZone: zone,
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    hourCycle: "h23",
  }).format(at);
const zoneOf = (person: string): string => (person in zones && person !== "p4" ? (zones[person] as string) : "UTC");

const within = (course: string | null): Doing[] =>
  doings.filter(
    ({ person, item }) =>
      course === null ||
      ((item === course || parents[item] === course) &&
        enrolments.some((enrolment) => enrolment.person === person && enrolment.item === course)),
  );

function expected(floor: number, zone: string | null, course: string | null): Hour[] {
  // The days that analysts see are those of all who use the course.
  const ofCourse = doings.filter(({ item }) => course === null || item === course || parents[item] === course);
  const seen = new Set<Doing>(ofGroups(ofCourse, start, start + 35 * DAY, floor));
  const uses = within(course).filter((use) => seen.has(use));
  const active = [...new Set(uses.map(({ person, at }) => `${person} ${localHour(at, zone ?? zoneOf(person))}`))].map(
    (text) => ({ person: text.split(" ")[0] as string, hour: Number(text.slice(-2)) }),
  );
  const byHour = groupBy(active, ({ hour }) => hour);
  return Array.from({ length: 24 }, (_, hour) => {
    const cells = byHour.get(hour) ?? [];
    const people = new Set(cells.map(({ person }) => person)).size;
    return { hour, hours: shown(cells.length, people, floor), people: shown(people, people, floor) };
  });
}

const columns = "hour, hour_count::int as hours, person_count::int as people";
const ask = (floor: number, zone: string | null, course: string | null): Promise<Hour[]> =>
  withFloor<Hour>(database, floor, `select ${columns} from analytics.productivity_cycle($1, $2, $3, $4)`, [
    course,
    iso(start),
    iso(start + 35 * DAY),
    zone,
  ]);

for (const floor of [1, 2, 5])
  test(`active hours in the time of each person, floor ${floor}`, async () => {
    for (const course of [null, "course-b"])
      expect(await ask(floor, null, course)).toEqual(expected(floor, null, course));
    expect(expected(floor, null, null).filter(({ hours }) => hours > 0).length).toBeGreaterThan(floor === 5 ? 0 : 20);
  });

test("in one zone for all; shares add up to 1", async () => {
  expect(await ask(1, "UTC", "course-b")).toEqual(expected(1, "UTC", "course-b"));
  expect(
    await database.value(
      "select round(sum(share)::numeric, 9)::float8 from analytics.productivity_cycle('course-b', $1, $2)",
      [iso(start), iso(start + 35 * DAY)],
    ),
  ).toBe(1);
  expect(
    await database.rows(
      "select distinct hour_count::int, share from analytics.productivity_cycle('course-b', $1, $2)",
      ["2001-01-01Z", "2001-02-01Z"],
    ),
  ).toEqual([{ hour_count: 0, share: null }]);
});

test("events that are not refreshed yet count", async () => {
  await database.as("postgres", {}, async (db) => {
    const [at, before] = [
      start + 12 * DAY + 1234,
      await db.rows("select * from analytics.productivity_cycle('course-b', '2026-02-01Z', '2026-03-01Z', 'UTC')"),
    ];
    await ingest(db, [
      {
        type: "track",
        messageId: "late",
        userId: enrolments.find(({ item }) => item === "course-b")?.person,
        event: "Course Rated",
        timestamp: iso(at),
        properties: { item: "page-c" },
      },
    ]);
    const queued = await db.rows(
      "select * from analytics.productivity_cycle('course-b', '2026-02-01Z', '2026-03-01Z', 'UTC')",
    );
    expect(queued).not.toEqual(before);
    await refresh(db);
    expect(
      await db.rows("select * from analytics.productivity_cycle('course-b', '2026-02-01Z', '2026-03-01Z', 'UTC')"),
    ).toEqual(queued);
  });
});

test("an instructor sees exact figures of the learners of her course", async () => {
  await database.query("create table public.staff (person text, item text, role text)");
  await database.query("insert into public.staff values ('tess', 'course-b', 'instructor')");
  await database.query("select track.sync_item_roles('public.staff')");
  const call = `select ${columns} from analytics.productivity_cycle('course-b', $1, $2)`;
  const period = [iso(start), iso(start + 35 * DAY)];
  await database.as("insights_instructor", { "insights.person": "tess" }, async (db) => {
    expect(await db.rows(call, period)).toEqual(expected(1, null, "course-b"));
    for (const [given, code] of [
      ["'course-a'", "CF002"],
      ["null", "CF002"],
      ["'course-b', among => 'counted'", "CF005"],
    ])
      expect(await db.rejects(`select * from analytics.productivity_cycle(${given})`)).toMatchObject({ code });
  });
});

test("an unknown course, zone or set, and a period, are errors", async () => {
  for (const [given, code] of [
    ["'course-x'", "CF002"],
    ["zone => 'Mars'", "CF002"],
    ["zone => repeat('z', 10000)", "CF002"],
    ["among => 'nothing'", "CF002"],
    ["since => '2026-02-01', until => '2026-01-01'", "CF001"],
    ["since => null", "CF001"],
    ["since => '1900-01-01'", "CF008"],
  ])
    expect(await database.rejects(`select * from analytics.productivity_cycle(${given})`)).toMatchObject({ code });
});

test("is for instructors, analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.productivity_cycle()")).toEqual([
    "instructor",
    "analyst",
    "admin",
    "worker",
  ]);
});
