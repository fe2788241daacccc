import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { shown } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { refresh } from "../track/messages.ts";
import { DAY, iso, start, withFloor } from "./doings.ts";
import { makeRhythms, rhythmOf, rhythms } from "./rhythms.ts";

const database = await testDatabase();
await makeRhythms(database);
await database.query("create table public.taken (person text, item text, enrolled_at timestamptz)");
await database.query(
  "insert into public.taken select person, 'course', '2026-01-01Z' from unnest($1::text[]) as person",
  [rhythms.map(({ person }) => person).filter((person) => person !== "dusk")],
);
await database.query("select track.sync_enrolments('public.taken')");
await database.query("create table public.staff (person text, item text, role text)");
await database.query("insert into public.staff values ('tess', 'course', 'instructor')");
await database.query("select track.sync_item_roles('public.staff')");

interface Type {
  chronotype: string;
  people: number;
}
const types = [
  "definitely_morning",
  "moderately_morning",
  "intermediate",
  "moderately_evening",
  "definitely_evening",
  "undetermined",
];
const expected = (people: string[]): Type[] =>
  types.map((chronotype) => ({
    chronotype,
    people: people.filter((person) => rhythmOf(person).chronotype === chronotype).length,
  }));
const everyone = rhythms.map(({ person }) => person);
const enrolled = everyone.filter((person) => person !== "dusk");

const columns = "chronotype, person_count::int as people";
const period = [iso(start - DAY), iso(start + 90 * DAY)];
const ask = (floor: number, course: string | null): Promise<Type[]> =>
  withFloor<Type>(database, floor, `select ${columns} from analytics.chronotypes($1, $2, $3)`, [course, ...period]);

test("of all people and of the learners of a course, before and after a refresh", async () => {
  for (const refreshed of [false, true]) {
    if (refreshed) await refresh(database);
    expect(await ask(1, null)).toEqual(expected(everyone));
    expect(await ask(1, "course")).toEqual(expected(enrolled));
  }
  expect(await database.value("select sum(share) from analytics.chronotypes(null, $1, $2)", period)).toBeCloseTo(1, 9);
});

test("of a set of people, and in one zone", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select track.set_person_set('some', array[track.find_person('dawn'), track.find_person('dusk')])");
    expect(
      await db.rows(`select ${columns} from analytics.chronotypes(null, $1, $2, among => 'some')`, period),
    ).toEqual(expected(["dawn", "dusk"]));
    expect(
      await db.rows(
        `select ${columns} from analytics.chronotypes(null, $1, $2, 'Asia/Tokyo', 'some') where person_count > 0`,
        period,
      ),
    ).toEqual(
      [rhythmOf("dawn", 7).chronotype, rhythmOf("dusk").chronotype]
        .map((chronotype) => ({ chronotype, people: 1 }))
        .sort((a, b) => types.indexOf(a.chronotype) - types.indexOf(b.chronotype)),
    );
  });
});

test("analysts see rounded numbers of enough people on days with enough people", async () => {
  // All days have too few people of nine with a floor of ten.
  expect((await ask(10, null)).every(({ people }) => people === 0)).toBe(true);
  const seen = await ask(2, null);
  for (const { people } of seen) expect(people % 2).toBe(0);
  const sum = seen.reduce((total, { people }) => total + people, 0);
  expect(sum).toBeGreaterThan(0);
  expect(sum).toBeLessThanOrEqual(
    expected(everyone).reduce((total, { people }) => total + shown(people, people, 2), 0) + 2,
  );
});

test("an instructor sees exact figures of the learners of her course only", async () => {
  await database.as("insights_instructor", { "insights.person": "tess" }, async (db) => {
    expect(await db.rows(`select ${columns} from analytics.chronotypes('course', $1, $2)`, period)).toEqual(
      expected(enrolled),
    );
    for (const [given, code] of [
      ["null", "CF002"],
      ["'nothing'", "CF002"],
      ["'course', among => 'counted'", "CF005"],
      ["'course', breakdown => 'set.counted'", "CF005"],
    ])
      expect(await db.rejects(`select * from analytics.chronotypes(${given})`)).toMatchObject({ code });
  });
});

test("an unknown course, zone or set, and a period, are errors", async () => {
  for (const [given, code] of [
    ["'course-x'", "CF002"],
    ["zone => 'Mars'", "CF002"],
    ["among => 'nothing'", "CF002"],
    ["since => '2026-02-01', until => '2026-01-01'", "CF001"],
    ["since => '1900-01-01'", "CF008"],
  ])
    expect(await database.rejects(`select * from analytics.chronotypes(${given})`)).toMatchObject({ code });
});

test("is for instructors, analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.chronotypes()")).toEqual([
    "instructor",
    "analyst",
    "admin",
    "worker",
  ]);
});
