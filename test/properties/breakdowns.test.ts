import { beforeAll, expect, test } from "vitest";
import { ingest, type Message, refresh } from "../sql/track/messages.ts";
import { testDatabase } from "../support/database.ts";

/*
 * Each function about learners and sessions takes any set of people as filter and as breakdown. For administrators the
 * result of a value is that of its people alone, and the numbers of the values of a trait add up to those without a
 * breakdown. For analysts no value and no remainder is a group below the floor.
 */
const database = await testDatabase();

const FLOOR = 5;
const DAY = 86_400_000;
const start = Date.UTC(2026, 1, 2);
const iso = (at: number): string => new Date(at).toISOString();
const learners = Array.from({ length: 24 }, (_, index) => `learner-${index}`);
const others = Array.from({ length: 12 }, (_, index) => `other-${index}`);
/** Twelve have the plan free, nine pro and three team. */
const planOf = (index: number): string => (index < 12 ? "free" : index < 21 ? "pro" : "team");

const questions: Record<string, { call: string; keys: string[] }> = {
  course_progress: { call: "'law'", keys: ["lower_bound", "upper_bound"] },
  course_grades: { call: "'law'", keys: ["lower_bound"] },
  course_terms: { call: "'law'", keys: ["term"] },
  item_analysis: { call: "'law'", keys: ["item"] },
  stopping_points: { call: "'law'", keys: ["item"] },
  engagement_levels: { call: "'law'", keys: ["section", "level"] },
  task_deadlines: { call: "'law'", keys: ["task"] },
  intervention_outcomes: { call: "'law'", keys: ["action"] },
  chronotypes: { call: `'law', '${iso(start)}', '${iso(start + 70 * DAY)}'`, keys: ["chronotype"] },
  productivity_cycle: { call: `'law', '${iso(start)}', '${iso(start + 70 * DAY)}'`, keys: ["hour"] },
  hour_of_week: { call: `null, '${iso(start)}', '${iso(start + 70 * DAY)}'`, keys: ["weekday", "hour"] },
  session_distribution: { call: `'views', '${iso(start)}', '${iso(start + 70 * DAY)}'`, keys: ["bin_start"] },
  session_items: { call: `'entry', '${iso(start)}', '${iso(start + 70 * DAY)}'`, keys: ["item"] },
};
/** Those about the learners of a course. */
const ofCourses = Object.entries(questions).filter(([, { call }]) => call.startsWith("'law'"));

type Row = Record<string, unknown>;

beforeAll(async () => {
  await database.query("update analytics.setting set smallest_group = $1", [FLOOR]);
  await database.query(`
    create table public.part as
      select * from (
        values ('law', 'course', null, null::timestamptz), ('law-page', 'page', 'law', null), ('law-quiz', 'task', 'law', null),
          ('law-essay', 'task', 'law', '2026-03-01T00:00:00Z')
      ) as entry (external_id, kind, parent, due_at)`);
  await database.query("select track.sync_items('public.part')");
  await database.query("select analytics.annotate('Term', $1, $2, 'term')", [iso(start), iso(start + 10 * DAY)]);
  const people = [...learners, ...others];
  const messages = people.flatMap((userId, index): Message[] => {
    const send = (event: string, item: string, hours: number, properties: Message = {}): Message => ({
      type: "track",
      messageId: `${userId} ${event} ${item} ${hours}`,
      userId,
      event,
      timestamp: iso(start + 3 * DAY + hours * 3_600_000 + index * 60_000),
      properties: { item, ...properties },
    });
    return [
      { type: "identify", messageId: `${userId} plan`, userId, traits: { plan: planOf(index % 24) } },
      ...Array.from({ length: 2 + (index % 4) }, (_, day) =>
        send("Page Viewed", "law-page", 24 * day + (index % 3) * 5),
      ),
      ...(index % 2 === 0 ? [send("Task Started", "law-quiz", 30), send("Task Submitted", "law-quiz", 31)] : []),
      send("Question Answered", "law-quiz", 32, { correct: index % 3 > 0 }),
      ...(index % 5 === 0 ? [send("Course Completed", "law", 100, { score: (index % 10) / 10 })] : []),
    ];
  });
  await ingest(database, messages);
  await database.query(
    `create table public.enrolled as
       select person, 'law' as item, case when number % 6 = 0 then 'completed' else 'active' end as status,
         $2::timestamptz + number * interval '1 day' as enrolled_at,
         case when number % 6 = 0 then $2::timestamptz + interval '40 days' end as ended_at
       from unnest($1::text[]) with ordinality as entry (person, number)`,
    [learners, iso(start)],
  );
  await database.query("select track.sync_enrolments('public.enrolled')");
  await refresh(database);
  for (const [index, person] of learners.entries())
    await database.query("select analytics.record_intervention('law', $1, $2, happened_at => $3)", [
      person,
      index % 2 === 0 ? "call" : "message",
      iso(start + 20 * DAY),
    ]);
  const sets: Record<string, string[]> = {
    pilot: [...learners.slice(0, 13), ...others.slice(0, 5)],
    // Two learners of the course, and ten others.
    few: [...learners.slice(0, 2), ...others.slice(0, 10)],
  };
  for (const [name, members] of Object.entries(sets))
    await database.query(
      "select track.set_person_set($1, array(select person_id from track.identity where external_id = any ($2)))",
      [name, members],
    );
  await refresh(database);
});

const ask = (role: string, name: string, more: string): Promise<Row[]> =>
  database.as(role, {}, (db) => db.rows<Row>(`select * from analytics.${name}(${questions[name]?.call}${more})`));

const without = ({ breakdown_value: _value, is_other: _other, ...row }: Row): Row => row;
const counts = (row: Row): [column: string, value: number][] =>
  Object.entries(row)
    .filter(([column]) => column.endsWith("_count") && column !== "item_count")
    .map(([column, value]) => [column, Number(value)]);

test.each(Object.keys(questions))("%s: a set as breakdown gives what it gives as filter", async (name) => {
  const rows = await ask("insights_admin", name, ", breakdown => 'set.pilot'");
  for (const [value, among] of [
    ["true", "pilot"],
    ["false", "~pilot"],
  ]) {
    const part = rows.filter(({ breakdown_value }) => breakdown_value === value);
    expect(part.length).toBeGreaterThan(0);
    expect(part.every(({ is_other }) => is_other === false)).toBe(true);
    expect(part.map(without)).toEqual((await ask("insights_admin", name, `, among => '${among}'`)).map(without));
  }
  expect([...new Set(rows.map(({ breakdown_value }) => breakdown_value))].sort()).toEqual(["false", "true"]);
});

test.each(Object.entries(questions))("%s: the values of a trait add up to the whole", async (name, { keys }) => {
  const sums = (rows: Row[]): Record<string, number> => {
    const found: Record<string, number> = {};
    for (const row of rows)
      for (const [column, value] of counts(row)) {
        const key = `${keys.map((each) => `${row[each]}`).join(" ")} ${column}`;
        found[key] = (found[key] ?? 0) + value;
      }
    return Object.fromEntries(Object.entries(found).filter(([, value]) => value > 0));
  };
  const whole = await ask("insights_admin", name, "");
  expect(whole.every((row) => row["breakdown_value"] === null && row["is_other"] === false)).toBe(true);
  for (const [topValues, named] of [
    [10, ["free", "pro", "team"]],
    [1, ["free", null]],
  ] as const) {
    const rows = await ask("insights_admin", name, `, breakdown => 'trait.plan', top_values => ${topValues}`);
    expect([...new Set(rows.map(({ breakdown_value }) => breakdown_value))]).toEqual(named);
    expect(sums(rows)).toEqual(sums(whole));
  }
});

test.each(ofCourses)("%s: analysts see no value and no remainder below the floor", async (name) => {
  // The three learners with the plan team are in the rest, together with the next smallest value.
  const rows = await ask("insights_analyst", name, ", breakdown => 'trait.plan'");
  expect([...new Set(rows.map(({ breakdown_value, is_other }) => `${breakdown_value} ${is_other}`))]).toEqual([
    "free false",
    "null true",
  ]);
  // Two learners are neither a group nor a difference of two groups, though their set has many more people.
  const whole = await ask("insights_analyst", name, "");
  expect((await ask("insights_analyst", name, ", breakdown => 'set.few'")).map(without)).toEqual(whole.map(without));
  expect(await ask("insights_analyst", name, ", among => '~few'")).toEqual(whole);
  for (const row of await ask("insights_analyst", name, ", among => 'few'"))
    for (const [column, value] of counts(row)) expect([column, value]).toEqual([column, 0]);
});

test.each(Object.keys(questions))("%s: errors of a breakdown", async (name) => {
  for (const role of ["insights_admin", "insights_analyst"]) {
    await expect(ask(role, name, ", breakdown => 'set.pilto'")).rejects.toMatchObject({
      code: "CF002",
      hint: expect.stringContaining("pilot"),
    });
    await expect(ask(role, name, ", breakdown => 'plan'")).rejects.toMatchObject({ code: "CF001" });
    await expect(ask(role, name, ", breakdown => 'trait.plan', top_values => 0")).rejects.toMatchObject({
      code: "CF001",
    });
  }
});
