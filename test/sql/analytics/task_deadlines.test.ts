import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";
import { DAY, iso, start, withFloor } from "./doings.ts";

const database = await testDatabase();
const HOUR = 3_600_000;
const due = start + 10 * DAY;
await ingest(database, [
  message({
    userId: "catalogue",
    event: "Published",
    timestamp: iso(start),
    properties: { item: "art", itemKind: "course" },
  }),
  ...["essay", "future", "open"].map((item) =>
    message({
      userId: "catalogue",
      event: "Published",
      timestamp: iso(start),
      properties: { item, itemKind: "task", parent: "art" },
    }),
  ),
]);
await database.query(
  `update track.item
   set due_at = case external_id when 'essay' then $1::timestamptz else now() + interval '400 days' end
   where external_id in ('essay', 'future')`,
  [iso(due)],
);
/** Hours before the deadline at which each learner started and submitted the essay. */
const essays: Record<string, [started: number | null, submitted: number | null]> = {
  a: [30, 28],
  b: [10, 2],
  c: [5, -3],
  d: [null, 0],
  e: [4, null],
  f: [null, null],
};
await ingest(
  database,
  Object.entries(essays).flatMap(([userId, [started, submitted]]) => [
    message({ userId, event: "Signed In", timestamp: iso(start) }),
    ...(started === null
      ? []
      : [
          message({
            userId,
            event: "Task Started",
            timestamp: iso(due - started * HOUR),
            properties: { item: "essay" },
          }),
        ]),
    ...(submitted === null
      ? []
      : [
          message({
            userId,
            event: "Task Submitted",
            timestamp: iso(due - submitted * HOUR),
            properties: { item: "essay" },
          }),
          message({ userId, event: "Task Submitted", timestamp: iso(due + DAY), properties: { item: "essay" } }),
        ]),
  ]),
);
await ingest(database, [
  message({ userId: "a", event: "Task Completed", timestamp: iso(due), properties: { item: "open" } }),
]);
await database.query("create table enrolments (person text, item text, enrolled_at timestamptz)");
await database.query("insert into enrolments select person, 'art', $1 from unnest('{a,b,c,d,e,f}'::text[]) as person", [
  iso(start),
]);
await database.query("select track.sync_enrolments('enrolments')");

const ask = (floor: number, rest = ""): Promise<object[]> =>
  withFloor(
    database,
    floor,
    `select task, learner_count::int as learners, started_count::int as started, on_time_count::int as on_time, late_count::int as late,
       missing_count::int as missing, floating_count::int as floating, median_lead::text as lead, median_work::text as work
     from analytics.task_deadlines('art'${rest})`,
  );

const expected = [
  {
    task: "essay",
    learners: 6,
    started: 4,
    on_time: 3,
    late: 1,
    missing: 2,
    floating: 0,
    lead: "01:00:00",
    work: "08:00:00",
  },
  { task: "future", learners: 6, started: 0, on_time: 0, late: 0, missing: 0, floating: 6, lead: null, work: null },
  { task: "open", learners: 6, started: 0, on_time: 1, late: 0, missing: 0, floating: 5, lead: null, work: null },
];

test("submissions by the first of each learner, before and after a refresh", async () => {
  expect(await ask(1)).toEqual(expected);
  await refresh(database);
  expect(await ask(1)).toEqual(expected);
});

test("analysts see rounded numbers of enough people", async () => {
  expect(await ask(4)).toMatchObject([
    { task: "essay", learners: 8, started: 4, on_time: 0, late: 0, missing: 0, lead: null, work: null },
    { task: "future", floating: 8 },
    { task: "open", on_time: 0, floating: 4 },
  ]);
});

test("of a set of people, and a course without tasks", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select track.set_person_set('some', array[track.find_person('a'), track.find_person('f')])");
    expect(
      await db.rows(
        "select on_time_count::int as on_time, missing_count::int as missing from analytics.task_deadlines('art', 'some')",
      ),
    ).toEqual([
      { on_time: 1, missing: 1 },
      { on_time: 0, missing: 0 },
      { on_time: 1, missing: 0 },
    ]);
    await ingest(db, [
      message({
        userId: "catalogue",
        event: "Published",
        timestamp: iso(start),
        properties: { item: "empty", itemKind: "course" },
      }),
    ]);
    expect(await db.rows("select from analytics.task_deadlines('empty')")).toEqual([]);
  });
});

test("an unknown course or set is an error", async () => {
  for (const given of ["'arts'", "null", "'art', 'none'"])
    expect(await database.rejects(`select * from analytics.task_deadlines(${given})`)).toMatchObject({ code: "CF002" });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.task_deadlines('art')")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
