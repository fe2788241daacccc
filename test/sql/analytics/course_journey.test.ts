import { expect, test } from "vitest";
import { makeCampus } from "../../support/campus.ts";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { refresh } from "../track/messages.ts";

const database = await testDatabase();
await makeCampus(database);

const as = <T>(person: string, work: (db: Queries) => Promise<T>): Promise<T> =>
  database.as("insights_instructor", { "insights.person": person }, work);
const journey = (db: Queries, person: string, course = "algebra", since = "2026-01-01Z", until = "infinity") =>
  db.rows(
    "select occurred_at, event, item, item_kind, item_title, engaged::text, is_automatic from analytics.course_journey($1, $2, $3, $4)",
    [course, person, since, until],
  );
const step = (at: string, event: string, item: string, engaged: string | null, rest: object = {}) => ({
  occurred_at: new Date(`2026-03-${at}Z`),
  event,
  item,
  item_kind: "page",
  item_title: item === "page" ? "A page" : "A bench",
  engaged,
  is_automatic: false,
  ...rest,
});
const inLab = [
  step("03T09:00:00", "Page Viewed", "bench", "00:01:00"),
  step("03T09:01:00", "Page Viewed", "bench", "00:00:00"),
];
const inAlgebra = [
  step("02T10:00:00", "Page Viewed", "page", "00:04:00"),
  step("02T10:06:00", "Task Submitted", "task", null, { item_kind: "task", item_title: "A task" }),
  step("02T12:00:00", "Task Graded", "exam", null, { item_kind: "task", item_title: "An exam", is_automatic: true }),
  ...inLab,
];

test("is what the learner did in the course, and nothing else", async () => {
  await as("tess", async (db) => {
    expect(await journey(db, "ada")).toEqual(inAlgebra);
    expect(await journey(db, "ada", "algebra", "2026-03-02T10:06:00Z", "2026-03-03T09:01:00Z")).toEqual(
      inAlgebra.slice(1, 4),
    );
    expect(await journey(db, "ada", "lab")).toEqual(inLab);
  });
  await as("otto", async (db) =>
    expect(await journey(db, "ada", "poetry")).toMatchObject([{ item: "sonnet" }, { item: "sonnet" }]),
  );
  // Neither the address of the page before, nor a session, whose key contains the time of its start.
  await as("tess", async (db) => {
    const [row] = await db.rows("select * from analytics.course_journey('algebra', 'ada', '2026-01-01')");
    expect(Object.keys(row ?? {}).sort()).toEqual(Object.keys(inAlgebra[0] ?? {}).sort());
  });
});

test("has no rows for people who are not learners of the course, who opted out, and who are unknown", async () => {
  await as("tess", async (db) => {
    for (const person of ["ben", "dan", "gus", "tess", "robot", "a browser", "unknown", "none", "", null as never]) {
      expect(await journey(db, person), String(person)).toEqual([]);
    }
    expect(await journey(db, "cleo")).toHaveLength(1);
  });
});

test("follows merges of people", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select track.link_identities('ada', 'cleo')");
    await refresh(db);
    const both = await journey(db, "ada");
    expect(both).toHaveLength(6);
    expect(await journey(db, "cleo")).toEqual(both);
  });
});

test("of a course of others is refused as one that does not exist, for any learner", async () => {
  for (const [teacher, course] of [
    ["otto", "algebra"],
    ["tess", "poetry"],
    ["lara", "algebra"],
    ["ada", "algebra"],
    ["", "algebra"],
    ["tess", "nothing"],
  ] as const) {
    await as(teacher, async (db) => {
      for (const person of ["ada", "unknown"]) {
        expect(await db.rejects("select * from analytics.course_journey($1, $2)", [course, person])).toMatchObject({
          code: "CF002",
          message: `you do not teach a course "${course}"`,
        });
      }
    });
  }
});

test("a period that ends before it begins is refused", async () => {
  await as("tess", async (db) =>
    expect(
      await db.rejects("select * from analytics.course_journey('algebra', 'ada', '2026-02-01', '2026-01-01')"),
    ).toMatchObject({ code: "CF001" }),
  );
});

test("is for instructors, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.course_journey('algebra', 'ada')")).toEqual([
    "instructor",
    "admin",
    "worker",
  ]);
});
