import fc from "fast-check";
import { expect, test } from "vitest";
import { ingest, type Message, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/*
 * The answers about courses that analysts receive: a course with fewer counted learners than the floor reads as one
 * without learners, whatever these learners, anonymous browsers and excluded people do in it. In a course with enough
 * learners each number of people is a multiple of the floor, and a group of none has no mean.
 */
const database = await testDatabase();

const FLOOR = 3;
const DAY = 86_400_000;
const start = Date.UTC(2026, 1, 2);
const iso = (at: number): string => new Date(at).toISOString();
const parts: Record<string, string> = { page: "page", film: "video", essay: "task", quiz: "task" };
const few = ["ada", "ben"];
const many = ["cleo", "dan", "eve", "finn", "gus", "hal", "ida"];

const deed = fc.record({
  who: fc.integer({ min: 0, max: 6 }),
  hour: fc.integer({ min: 0, max: 24 * 60 }),
  event: fc.constantFrom(
    "Page Viewed",
    "Page Viewed",
    "Video Playback Started",
    "Task Started",
    "Task Submitted",
    "Question Answered",
    "Task Graded",
    "Course Completed",
  ),
  item: fc.constantFrom(...Object.keys(parts), "course"),
  score: fc.constantFrom(0, 0.25, 0.9, 1),
});
type Deed = typeof deed extends fc.Arbitrary<infer T> ? T : never;
const learner = fc.record({
  status: fc.constantFrom("active", "completed", "dropped"),
  day: fc.integer({ min: 0, max: 40 }),
  note: fc.constantFrom(null, "call", "message"),
});
type Learner = typeof learner extends fc.Arbitrary<infer T> ? T : never;

const world = fc.record({
  deeds: fc.array(deed, { minLength: 40, maxLength: 120 }),
  learners: fc.array(learner, { minLength: many.length, maxLength: many.length }),
  others: fc.array(deed, { maxLength: 10 }),
  refreshed: fc.boolean(),
});

const message = (who: object, course: string, { hour, event, item, score }: Deed, messageId: string): Message => ({
  type: "track",
  messageId: `${course} ${messageId}`,
  ...who,
  event,
  timestamp: iso(start + hour * 3_600_000),
  properties: { item: item === "course" ? course : `${course}-${item}`, score, correct: score > 0.5 },
});

/** The learners of a course, their deeds and what teachers did about them. */
async function enrol(db: Queries, course: string, people: readonly string[], learners: readonly Learner[]) {
  await db.query("delete from public.enrolled");
  await db.query(
    `insert into public.enrolled
     select person, $1, status, $2::timestamptz + day * interval '1 day',
       case when status <> 'active' then $2::timestamptz + (day + 15) * interval '1 day' end
     from unnest($3::text[], $4::text[], $5::int[]) as entry (person, status, day)`,
    [
      course,
      iso(start),
      people,
      people.map((_, index) => learners[index]?.status),
      people.map((_, index) => learners[index]?.day),
    ],
  );
  await db.query("select track.sync_enrolments('public.enrolled')");
  for (const [index, person] of people.entries())
    if (learners[index]?.note)
      await db.query("select analytics.record_intervention($1, $2, $3, happened_at => $4)", [
        course,
        person,
        learners[index]?.note,
        iso(start + (learners[index]?.day ?? 0) * DAY),
      ]);
}

const questions = (course: string): string[] => [
  ...["page", "video", "task"].map((kind) => `analytics.engagement_levels('${course}', '${kind}')`),
  ...["null", "'page'", "'task'"].map((kind) => `analytics.stopping_points('${course}', ${kind})`),
  ...["answers", "scores"].flatMap((measure) =>
    ["first", "last", "best"].map(
      (attempt) => `analytics.item_analysis('${course}', null, '${measure}', '${attempt}')`,
    ),
  ),
  ...["now", "then"].map((structure) => `analytics.course_progress('${course}', '${structure}')`),
  `analytics.course_terms('${course}')`,
  `analytics.course_grades('${course}')`,
  `analytics.task_deadlines('${course}')`,
  `analytics.intervention_outcomes('${course}')`,
  `analytics.chronotypes('${course}', '${iso(start)}', '${iso(start + 70 * DAY)}')`,
  `analytics.productivity_cycle('${course}', '${iso(start)}', '${iso(start + 70 * DAY)}')`,
  `analytics.hour_of_week(null, '${iso(start)}', '${iso(start + 70 * DAY)}', item => '${course}')`,
];

async function answers(db: Queries, course: string, role: string): Promise<Record<string, unknown>[]> {
  await db.query(`set local role ${role}`);
  const found = [];
  for (const question of questions(course))
    for (const row of await db.rows(`select * from ${question}`)) found.push({ question, ...row });
  await db.query("reset role");
  return found;
}

const isPeople = (column: string): boolean =>
  column.endsWith("_count") && !["item_count", "event_count", "hour_count", "attempt_count"].includes(column);

test("a course of too few learners reads as one without, and figures of others are of groups", {
  timeout: 600_000,
}, async () => {
  // Questions about which analysts saw people of the one course, and administrators of the other.
  const told = new Set<string>();
  const known = new Set<string>();
  const note = (list: Set<string>, row: Record<string, unknown>, course: string) => {
    if (Object.entries(row).some(([column, value]) => isPeople(column) && Number(value) > 0))
      list.add(`${row["question"]}`.replace(course, ""));
  };
  await fc.assert(
    fc.asyncProperty(world, async ({ deeds, learners, others, refreshed }) => {
      const ask = (isUsed: boolean) =>
        database.as("postgres", {}, async (db) => {
          await db.query("update analytics.setting set smallest_group = $1", [FLOOR]);
          await db.query(
            `create table public.part as
             select course || '-' || part as external_id, kind, course as parent, null::timestamptz as due_at
             from unnest('{art,law}'::text[]) as course
             cross join unnest($1::text[], $2::text[]) as entry (part, kind)
             union all
             select course, 'course', null, null from unnest('{art,law}'::text[]) as course`,
            [Object.keys(parts), Object.values(parts)],
          );
          await db.query("update public.part set due_at = $1 where external_id like '%-essay'", [
            iso(start + 30 * DAY),
          ]);
          await db.query("select track.sync_items('public.part')");
          await db.query(
            "create table public.enrolled (person text, item text, status text, enrolled_at timestamptz, ended_at timestamptz)",
          );
          await db.query("select analytics.annotate('Term', $1, $2, 'term')", [iso(start), iso(start + 20 * DAY)]);
          await ingest(
            db,
            [...few, ...many, "bot"].map((userId) => ({
              type: "track",
              messageId: userId,
              userId,
              event: "Signed In",
              timestamp: "2026-01-01T00:00:00Z",
            })),
          );
          await db.query("select track.exclude_person('bot', 'bot')");
          await enrol(db, "law", many, learners);
          const inLaw = deeds.map((one, index) => message({ userId: many[one.who] }, "law", one, `${index}`));
          await ingest(db, inLaw.slice(20));
          await refresh(db);
          await ingest(db, inLaw.slice(0, 20));
          if (isUsed) {
            await enrol(db, "art", [...few, "bot"], learners);
            await ingest(db, [
              ...deeds.map((one, index) => message({ userId: few[one.who % 2] }, "art", one, `${index}`)),
              ...deeds.map((one, index) => message({ userId: "bot" }, "art", one, `bot ${index}`)),
              ...others.map((one, index) => message({ anonymousId: `b${one.who}` }, "art", one, `other ${index}`)),
            ]);
          }
          if (refreshed) await refresh(db);
          if (isUsed) for (const row of await answers(db, "art", "insights_admin")) note(known, row, "art");
          return {
            art: await answers(db, "art", "insights_analyst"),
            law: await answers(db, "law", "insights_analyst"),
          };
        });
      const used = await ask(true);
      expect(used).toEqual(await ask(false));
      for (const row of used.law) {
        const counts = Object.entries(row).filter(([column]) => isPeople(column));
        for (const [column, value] of counts) expect([row, column, Number(value) % FLOOR]).toEqual([row, column, 0]);
        if (Number(row["graded_count"]) === 0) expect(row).toMatchObject({ mean_grade: null });
        note(told, row, "law");
        for (const [column, value] of Object.entries(row))
          if (/^(share|.*_rate)/.test(column) && value !== null) {
            expect([row, column, Number(value) >= 0]).toEqual([row, column, true]);
            expect([row, column, Number(value) <= 1]).toEqual([row, column, true]);
          }
      }
      for (const row of used.art)
        for (const [column, value] of Object.entries(row))
          if (isPeople(column)) expect([row, column, Number(value)]).toEqual([row, column, 0]);
    }),
    {
      numRuns: 1 + runs(8, 1, database.native),
      // Each learner does everything, some of them without success.
      examples: [
        [
          {
            deeds: many.flatMap((_, who) =>
              Object.keys(parts).flatMap((item) =>
                (["Page Viewed", "Task Submitted", "Question Answered", "Task Graded"] as const).map(
                  (event, place) => ({
                    who,
                    hour: 24 * (2 + who) + 9 + place,
                    event,
                    item,
                    score: who % 2 === 0 ? (1 as const) : (0.25 as const),
                  }),
                ),
              ),
            ),
            learners: many.map(
              (_, index): Learner => ({
                status: index < 4 ? "active" : "completed",
                day: index % 2,
                note: index < 5 ? "call" : "message",
              }),
            ),
            others: [],
            refreshed: true,
          },
        ],
      ],
    },
  );
  const all = new Set(questions(""));
  expect(known).toEqual(all);
  expect(told).toEqual(all);
});
