import fc from "fast-check";
import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { runs } from "../../support/runs.ts";
import { ingest, type Message, message } from "./messages.ts";

/* Enrolments that the events of an import state. */

const database = await testDatabase();

async function imported(db: Queries, source: string, messages: Message[]): Promise<void> {
  await db.query(
    "select set_config('insights.source', $1, true), set_config('insights.states_enrolments', 'on', true)",
    [source],
  );
  expect(await ingest(db, messages)).toMatchObject({ rejected: 0 });
  await db.query("select set_config('insights.source', '', true), set_config('insights.states_enrolments', '', true)");
}

const said = (event: string, day: number, fields: Message = {}): Message =>
  message({ event, timestamp: at(day), properties: { item: "algebra", itemKind: "course" }, ...fields });
const at = (day: number): string => new Date(Date.UTC(2026, 0, 1 + day)).toISOString();

interface Enrolment {
  item: string;
  status: string;
  enrolled_at: string;
  ended_at: string | null;
}

const enrolments = (db: Queries, person = "ada"): Promise<Enrolment[]> =>
  db.rows<Enrolment>(
    `select
       item.external_id as item, enrolment.status,
       to_char(enrolment.enrolled_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as enrolled_at,
       to_char(enrolment.ended_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as ended_at
     from track.enrolment
     join track.item using (item_id)
     where person_id = track.find_person($1)
     order by item.external_id`,
    [person],
  );

/** The enrolment after events in the order of time, an enrolment before an end of the same time. */
function replayed(events: readonly { event: string; day: number }[]): Omit<Enrolment, "item">[] {
  const rank = (event: string): number => (event === "Course Enrolled" ? 0 : 1);
  let spell: { enrolled: number; dropped?: number; completed?: number } | undefined;
  for (const { event, day } of events.toSorted((a, b) => a.day - b.day || rank(a.event) - rank(b.event))) {
    if (event === "Course Enrolled") {
      if (spell === undefined || spell.dropped !== undefined) spell = { enrolled: day };
    } else if (spell !== undefined && event === "Course Dropped") spell.dropped = day;
    else if (spell !== undefined) spell.completed ??= day;
  }
  if (spell === undefined) return [];
  const { enrolled, dropped, completed } = spell;
  const end = completed ?? dropped;
  return [
    {
      status: completed !== undefined ? "completed" : dropped !== undefined ? "dropped" : "active",
      enrolled_at: at(enrolled),
      ended_at: end === undefined ? null : at(end),
    },
  ];
}

test("in any order and any batches, two imports give the enrolment that all events give in the order of time", async () => {
  let enrolled = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          event: fc.constantFrom("Course Enrolled", "Course Enrolled", "Course Dropped", "Course Completed"),
          day: fc.integer({ min: 1, max: 40 }),
          source: fc.constantFrom("moodle", "csv"),
          isNext: fc.boolean(),
        }),
        { minLength: 1, maxLength: 8 },
      ),
      async (steps) => {
        await database.as("postgres", {}, async (db) => {
          for (const { event, day, source } of steps) await imported(db, source, [said(event, day)]);
          const expected = replayed(steps).map((one) => ({ item: "algebra", ...one }));
          enrolled += expected.length;
          expect(await enrolments(db)).toEqual(expected);
          // All at once.
          await imported(
            db,
            "edx",
            steps.map(({ event, day }) => said(event, day, { userId: "ben" })),
          );
          expect(await enrolments(db, "ben")).toEqual(expected);
        });
      },
    ),
    { numRuns: runs(40, 6, database.native) },
  );
  if (database.native) expect(enrolled).toBeGreaterThan(2);
});

test("events of applications, of browsers and without a course give none", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [said("Course Enrolled", 1)]);
    await imported(db, "moodle", [
      said("Course Enrolled", 1, { userId: undefined, anonymousId: "browser-1" }),
      message({ event: "Course Enrolled", userId: "ben", timestamp: at(1) }),
      said("Course Dropped", 2, { userId: "eve" }),
      said("Page Viewed", 2, { userId: "eve" }),
    ]);
    expect(await db.rows("select from track.enrolment")).toEqual([]);
    // Also beside an import that states some.
    await imported(db, "moodle", [said("Course Enrolled", 3)]);
    expect(await enrolments(db)).toMatchObject([{ enrolled_at: at(3) }]);
  });
});

test("what the application or an administrator states stays, and replaces what an import has stated", async () => {
  await database.as("postgres", {}, async (db) => {
    await imported(db, "moodle", [said("Course Enrolled", 1), said("Course Enrolled", 1, { userId: "ben" })]);
    await db.query(
      "create table pg_temp.enrolments as select 'ada' as person, 'algebra' as item, '2026-01-02'::timestamptz as enrolled_at",
    );
    const sync = () => db.rows("select * from track.sync_enrolments('pg_temp.enrolments')");
    expect(await sync()).toEqual([{ inserted: 0, updated: 1, unchanged: 0 }]);
    expect(await sync()).toEqual([{ inserted: 0, updated: 0, unchanged: 1 }]);
    await db.query(
      `select privacy.rectify('ben', '{"enrolments": [{"item": "algebra", "status": "completed", "ended_at": "2026-02-01T00:00:00Z"}]}')`,
    );
    await imported(db, "moodle", [said("Course Dropped", 9), said("Course Dropped", 9, { userId: "ben" })]);
    expect(await enrolments(db)).toMatchObject([{ status: "active", enrolled_at: at(1) }]);
    expect(await enrolments(db, "ben")).toMatchObject([{ status: "completed" }]);
    while ((await db.value("select completed_at is null from track.forget_import('moodle')")) === true);
    expect(await db.value("select count(*)::int from track.enrolment")).toBe(2);
  });
});

test("names of a merged item: the enrolment is in the item, and goes back with its name", async () => {
  await database.as("postgres", {}, async (db) => {
    await imported(db, "moodle", [
      said("Course Enrolled", 1),
      said("Course Enrolled", 5, { properties: { item: "algebra-1", itemKind: "course" } }),
    ]);
    await db.query("select track.merge_items('algebra-1', 'algebra')");
    await imported(db, "moodle", [
      said("Course Dropped", 7, { properties: { item: "algebra-1" } }),
      said("Course Enrolled", 3, { userId: "ben", properties: { item: "algebra-1" } }),
    ]);
    expect(await enrolments(db, "ben")).toMatchObject([{ item: "algebra", enrolled_at: at(3) }]);
    await db.query("select track.unmerge_item('algebra-1')");
    expect(await enrolments(db)).toMatchObject([
      { item: "algebra", status: "active", enrolled_at: at(1) },
      { item: "algebra-1", status: "dropped", ended_at: at(7) },
    ]);
    expect(await enrolments(db, "ben")).toMatchObject([{ item: "algebra-1" }]);
  });
});

test("an import whose events retention has deleted takes its enrolments with it", async () => {
  await database.as("postgres", {}, async (db) => {
    await imported(db, "moodle", [said("Course Enrolled", 1), said("Course Enrolled", 1, { userId: "ben" })]);
    await imported(db, "csv", [said("Course Enrolled", 4, { userId: "ben" })]);
    await db.query(
      "delete from track.event where source_id = (select source_id from track.source where name = 'moodle')",
    );
    while ((await db.value("select completed_at is null from track.forget_import('moodle')")) === true);
    expect(await enrolments(db, "ben")).toMatchObject([{ enrolled_at: at(4) }]);
    expect(await db.value("select count(*)::int from track.enrolment")).toBe(1);
    expect(await db.value("select track.find_person('ada')")).toBeNull();
    expect(await db.value("select person_count::int from track.forgotten_import")).toBe(1);
  });
});

test("a merge and a split of people move her enrolments, which stay those of the import", async () => {
  await database.as("postgres", {}, async (db) => {
    await imported(db, "moodle", [said("Course Enrolled", 1), said("Course Enrolled", 2, { userId: "ben" })]);
    await db.query("select track.merge_persons('ada', 'ben')");
    expect(await enrolments(db)).toHaveLength(2);
    await imported(db, "moodle", [said("Course Dropped", 3, { userId: "ben" })]);
    await db.query("select track.split_person('ada', '{ben}')");
    expect(await enrolments(db)).toMatchObject([{ status: "active" }]);
    expect(await enrolments(db, "ben")).toMatchObject([{ status: "dropped", enrolled_at: at(2), ended_at: at(3) }]);
    while ((await db.value("select completed_at is null from track.forget_import('moodle')")) === true);
    expect(await db.rows("select from track.enrolment")).toEqual([]);
  });
});
