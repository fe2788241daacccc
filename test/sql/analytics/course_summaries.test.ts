import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { dayOf, groupBy, people, shown } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";
import { COMPLETION, makeEnrolments } from "./course_takers.ts";
import { doings, iso, makeDoings, parents } from "./doings.ts";

const database = await testDatabase();
await makeDoings(database);
await makeEnrolments(database);
await ingest(database, [
  message({ userId: "p3", event: "Published", properties: { item: "course-unused", itemKind: "course" } }),
]);
await database.query("select track.exclude_person('p11', 'test')");
await refresh(database);
await database.query("select track.exclude_person('p3', 'test')");
await refresh(database);

const summaries = `
  select course, person_count::int, enrolment_count::int, completion_count::int, dropped_count::int, completion_rate,
    event_count::int, extract(epoch from engaged)::int as engaged, last_day::text
  from analytics.course_summaries()`;

test("has no row before the first refresh", async () => {
  expect(await database.rows(summaries)).toEqual([]);
});

/** The use of a course, of the events of days with enough people. */
const used = (course: string, floor: number) => {
  const published = Object.entries({ ...parents, [course]: course }).filter(
    ([item, parent]) => item === course || parent === course,
  );
  const own = [
    ...doings.filter(({ item }) => item === course || parents[item] === course),
    ...published.map(() => ({ person: "catalogue", at: Date.parse("2020-01-01T00:00:00Z") })),
  ].filter(({ person }) => person !== "p11" && person !== "p3");
  return [...groupBy(own, ({ at }) => dayOf(at)).values()].filter((day) => people(day) >= floor).flat();
};

for (const floor of [1, 3, 5]) {
  test(`equals the events and enrolments, floor ${floor}`, async () => {
    const completion = await database.rows<Record<string, number | string>>(COMPLETION);
    expect(completion.map(({ course }) => course).sort()).toEqual(["course-a", "course-b"]);
    expect(completion.some(({ completed, enrolled }) => completed !== 0 && completed !== enrolled)).toBe(true);
    const rows = await database.as("postgres", {}, async (db) => {
      await db.query("update analytics.setting set smallest_group = $1", [floor]);
      await db.query("select analytics.refresh_views()");
      await db.query(`set local role insights_${floor > 1 ? "analyst" : "admin"}`);
      return await db.rows(summaries);
    });
    const expected = ["course-a", "course-b", "course-unused"].map((course) => {
      const events = course === "course-unused" ? [] : used(course, floor);
      const of = people(events);
      const stated = completion.find((row) => row["course"] === course);
      const number = (name: string): number => shown(Number(stated?.[name] ?? 0), Number(stated?.[name] ?? 0), floor);
      return {
        course,
        person_count: shown(of, of, floor),
        enrolment_count: number("enrolled"),
        completion_count: number("completed"),
        dropped_count: number("dropped"),
        completion_rate: number("enrolled") === 0 ? null : number("completed") / number("enrolled"),
        event_count: shown(events.length, of, floor),
        engaged: 0,
        last_day: of === 0 ? null : iso(Math.max(...events.map(({ at }) => at))).slice(0, 10),
      };
    });
    expect(rows).toEqual(
      expected.toSorted((a, b) => b.person_count - a.person_count || (a.course < b.course ? -1 : 1)),
    );
  });
}

test("one learner's completion, drop-out or use below the floor changes no answer to analysts", async () => {
  await database.as("postgres", {}, async (db) => {
    const taken = (person: string, status: string) =>
      db.query(
        `create or replace view public.more as
          select '${person}'::text as person, 'course-small'::text as item, '2026-02-01Z'::timestamptz as enrolled_at,
            '${status}'::text as status`,
      );
    const take = async (person: string, status: string): Promise<void> => {
      await taken(person, status);
      await db.query("select track.sync_enrolments('public.more')");
    };
    const answer = async (): Promise<object[]> => {
      await refresh(db);
      await db.query("select analytics.refresh_views()");
      await db.query("set local role insights_analyst");
      const rows = await db.rows(summaries);
      await db.query("set local role postgres");
      return rows;
    };
    for (const index of [1, 2, 3, 4, 5, 6]) await take(`s${index}`, "active");
    const before = await answer();
    expect(before).toContainEqual(
      expect.objectContaining({ course: "course-small", enrolment_count: 5, completion_count: 0, completion_rate: 0 }),
    );
    await take("s1", "completed");
    expect(await answer()).toEqual(before);
    await take("s2", "dropped");
    expect(await answer()).toEqual(before);
    await ingest(db, [
      message({ userId: "s1", timestamp: "2026-03-02T10:00:00Z", properties: { item: "course-small" } }),
    ]);
    expect(await answer()).toEqual(before);
    // A course of four learners reads as one without any.
    for (const index of [1, 2, 3, 4]) {
      await db.query(`create or replace view public.more as select 's${index}'::text as person, 'course-unused'::text as item,
        '2026-02-01Z'::timestamptz as enrolled_at, 'completed'::text as status`);
      await db.query("select track.sync_enrolments('public.more')");
    }
    expect(await answer()).toEqual(before);
  });
});

test("the view itself is read by nobody, and the function by those who analyse", async () => {
  expect(await rolesThatMay(database, "select * from analytics.course_summary")).toEqual([]);
  expect(await rolesThatMay(database, "select * from analytics.course_summaries()")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
