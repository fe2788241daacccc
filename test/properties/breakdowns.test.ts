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

const period = `'${iso(start)}', '${iso(start + 70 * DAY)}'`;
const steps = `'["Page Viewed", "Question Answered"]', ${period}`;
/** About the use of items, features and paths. Without keys, the values do not add up: each has its own scale. */
const uses: Record<string, { call: string; keys: string[] }> = {
  popular_items: { call: `null, ${period}`, keys: ["item"] },
  popular_courses: { call: period, keys: ["course"] },
  trending_items: { call: `null, '${iso(start + 4 * DAY)}', '${iso(start + 5 * DAY)}', bias => 1`, keys: [] },
  feature_usage: {
    call: `since => '${iso(start)}', until => '${iso(start + 70 * DAY)}', with_median => true`,
    keys: [],
  },
  rfm: { call: period, keys: [] },
  funnel_times: { call: steps, keys: [] },
  paths: { call: period, keys: ["step", "source", "target"] },
  sequences: { call: `${period}, length => 2`, keys: ["nodes"] },
  transitions: { call: period, keys: ["source", "target"] },
};
const dividing = { ...questions, ...uses };

/** The other functions that take sets of people. */
const filtered: Record<string, string> = {
  trend: `'Page Viewed', 'week', ${period}`,
  anomalies: `'Page Viewed', 'day', ${period}`,
  retention: `'Page Viewed', 'Page Viewed', 'day', ${period}`,
  lifecycle: `'Page Viewed', 'week', ${period}`,
  stickiness: `'Page Viewed', 'day', ${period}`,
  active_people: `null, ${period}`,
  session_trend: `'week', ${period}`,
  funnel: steps,
  funnel_trend: `'["Page Viewed", "Question Answered"]', 'week', ${period}`,
};
const filteredOnly: Record<string, string> = { funnel_correlation: steps };

type Row = Record<string, unknown>;

beforeAll(async () => {
  await database.query("update analytics.setting set smallest_group = $1", [FLOOR]);
  await database.query(`
    create table public.part as
      select * from (
        values ('law', 'course', null, null::timestamptz), ('law-page', 'page', 'law', null),
          ('law-more', 'page', 'law', null), ('law-quiz', 'task', 'law', null),
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
      ...Array.from({ length: 2 + (index % 4) }, (_, day) =>
        send("Page Viewed", "law-more", 24 * day + (index % 3) * 5 + 0.1),
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
    // Two learners are between these: the people with the most and with the fewest events.
    "near.part": learners.slice(2, 12),
    "near.whole": [...learners.slice(2, 12), "learner-0", "learner-23"],
    "near.others": [...learners.slice(12, 22), ...others],
    // Twelve people are between these, two of them learners.
    "course.part": [...learners.slice(2, 12), ...others.slice(0, 6)],
    "course.whole": [...learners.slice(2, 12), "learner-0", "learner-23", ...others.slice(2, 12)],
    // Two of these people are active on the last day, all of them before it.
    rare: [...[3, 7, 4, 8, 12, 16, 1, 9, 13].map((index) => `learner-${index}`), "other-4", "other-8"],
    // Two learners of both.
    "cut.few": ["learner-3", "learner-4", ...learners.slice(12, 18)],
  };
  for (const [name, members] of Object.entries(sets))
    await database.query(
      "select track.set_person_set($1, array(select person_id from track.identity where external_id = any ($2)))",
      [name, members],
    );
  await refresh(database);
});

const calls: Record<string, string> = {
  ...Object.fromEntries(Object.entries(dividing).map(([name, { call }]) => [name, call])),
  ...filtered,
  ...filteredOnly,
};
const ask = (role: string, name: string, more: string): Promise<Row[]> =>
  database.as(role, {}, (db) => db.rows<Row>(`select * from analytics.${name}(${calls[name]}${more})`));

const without = ({ breakdown_value: _value, is_other: _other, ...row }: Row): Row => row;
const counts = (row: Row): [column: string, value: number][] =>
  Object.entries(row)
    .filter(([column]) => column.endsWith("_count") && column !== "item_count")
    .map(([column, value]) => [column, Number(value)]);

test.each(Object.keys(dividing))("%s: a set as breakdown gives what it gives as filter", async (name) => {
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

const adding = Object.entries(dividing).filter(([, { keys }]) => keys.length > 0);

test.each(adding)("%s: the values of a trait add up to the whole", async (name, { keys }) => {
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

test.each(Object.keys(uses))("%s: analysts see the values of a trait as groups", async (name) => {
  const rows = await ask("insights_analyst", name, ", breakdown => 'trait.plan'");
  const named = [...new Set(rows.map(({ breakdown_value, is_other }) => `${breakdown_value} ${is_other}`))];
  // Too few people of the rest have times.
  expect(named).toEqual(name === "funnel_times" ? ["free false"] : ["free false", "null true"]);
});

/** Of all people, whatever the day: a value is what its set is as a filter, and so no more than that shows. */
const asFilters = ["popular_items", "popular_courses", "trending_items", "feature_usage", "transitions"];

test.each(asFilters)("%s: for analysts, a value is what its set is as a filter", async (name) => {
  for (const [breakdown, amongOf] of [
    ["set.pilot", (value: unknown) => (value === "true" ? "pilot" : "~pilot")],
    ["set.near", (value: unknown) => `near.${value}`],
  ] as const) {
    const rows = await ask("insights_analyst", name, `, breakdown => '${breakdown}'`);
    const values = new Set(rows.map(({ breakdown_value }) => breakdown_value).filter((value) => value !== null));
    expect(values.size).toBeGreaterThan(breakdown === "set.pilot" ? 1 : 0);
    for (const value of values)
      expect(rows.filter(({ breakdown_value }) => breakdown_value === value).map(without)).toEqual(
        (await ask("insights_analyst", name, `, among => '${amongOf(value)}'`)).map(without),
      );
  }
});

/** About the events of a period: their values are groups on each of its days. */
const ofPeriods: Record<string, (since: number, until: number) => string> = {
  hour_of_week: (since, until) => `null, '${iso(since)}', '${iso(until)}'`,
  session_distribution: (since, until) => `'views', '${iso(since)}', '${iso(until)}'`,
  session_items: (since, until) => `'entry', '${iso(since)}', '${iso(until)}'`,
  session_trend: (since, until) => `'day', '${iso(since)}', '${iso(until)}'`,
  paths: (since, until) => `'${iso(since)}', '${iso(until)}'`,
  sequences: (since, until) => `'${iso(since)}', '${iso(until)}', length => 2`,
};
const first = start + 3 * DAY;
const last = first + 4 * DAY;

test.each(Object.entries(ofPeriods))("%s: analysts see no value and no remainder below the floor", async (name, of) => {
  const read = (role: string, since: number, until: number, more: string): Promise<Row[]> =>
    database.as(role, {}, (db) => db.rows<Row>(`select * from analytics.${name}(${of(since, until)}${more})`));
  const analyst = "insights_analyst";
  const isEmpty = (rows: Row[]) => rows.every((row) => counts(row).every(([, value]) => value === 0));

  // The people with the plan team are too few on each day, and on the last one those with the plan pro as well.
  const plans = await read(analyst, first, last + DAY, ", breakdown => 'trait.plan'");
  expect([...new Set(plans.map(({ breakdown_value, is_other }) => `${breakdown_value} ${is_other}`))]).toEqual([
    "free false",
    "null true",
  ]);

  // Withheld: two members on the last day, and all others but these two.
  const whole = await read(analyst, last, last + DAY, "");
  expect(isEmpty(whole)).toBe(false);
  expect(isEmpty(await read("insights_admin", last, last + DAY, ", among => 'rare'"))).toBe(false);
  for (const among of ["rare", "~rare"])
    expect(isEmpty(await read(analyst, last, last + DAY, `, among => '${among}'`))).toBe(true);

  // The remainder: neither all people nor the period before gives these two.
  const values = await read(analyst, last, last + DAY, ", breakdown => 'set.rare'");
  expect(new Set(values.map(({ breakdown_value }) => breakdown_value)).size).toBe(1);
  expect(values.map(without)).toEqual(whole.map(without));
  const ofMembers = async (until: number) =>
    (await read(analyst, first, until, ", breakdown => 'set.rare'"))
      .filter(({ breakdown_value, bucket_start }) => breakdown_value === "true" && Number(bucket_start ?? 0) < last)
      .map(without);
  expect(isEmpty(await ofMembers(last))).toBe(false);
  expect(await ofMembers(last + DAY)).toEqual(await ofMembers(last));
});

/** About items and features: a day counts for a set if its people and the others are both groups. */
const ofItems: Record<string, (since: number, until: number) => string> = {
  popular_items: (since, until) => `null, '${iso(since)}', '${iso(until)}'`,
  popular_courses: (since, until) => `'${iso(since)}', '${iso(until)}'`,
  trending_items: (since, until) => `null, '${iso(since)}', '${iso(until)}', bias => 1`,
  feature_usage: (since, until) => `'Page Viewed', since => '${iso(since)}', until => '${iso(until)}'`,
};

test.each(Object.entries(ofItems))("%s: analysts see no day with two members or two others", async (name, of) => {
  // The members of the set have not completed the course: its own row is that of all people.
  const read = async (role: string, since: number, until: number, more: string): Promise<Row[]> =>
    (
      await database.as(role, {}, (db) => db.rows<Row>(`select * from analytics.${name}(${of(since, until)}${more})`))
    ).filter(({ item }) => item !== "law");
  if (name !== "trending_items") expect(await read("insights_analyst", last, last + DAY, "")).not.toEqual([]);
  for (const more of [", among => 'rare'", ", among => '~rare'", ", breakdown => 'set.rare'"]) {
    if (name !== "trending_items") expect(await read("insights_admin", last, last + DAY, more)).not.toEqual([]);
    expect(await read("insights_analyst", last, last + DAY, more)).toEqual([]);
  }
  if (name === "trending_items") return;
  if (name === "feature_usage") {
    const people = async (more: string): Promise<number> =>
      (await read("insights_analyst", last, last + DAY, `, breakdown => 'kind'${more}`)).reduce(
        (sum, { person_count }) => sum + Number(person_count),
        0,
      );
    expect(await people("")).toBeGreaterThan(0);
    for (const among of ["rare", "~rare"]) expect(await people(`, among => '${among}'`)).toBe(0);
  }
  const use = ({ person_count, event_count, breakdown_value }: Row): unknown => [
    breakdown_value,
    person_count,
    event_count,
  ];
  for (const more of [", among => '~rare'", ", breakdown => 'set.rare'"]) {
    const rows = await read("insights_analyst", first, last, more);
    expect(rows).not.toEqual([]);
    expect((await read("insights_analyst", first, last + DAY, more)).map(use)).toEqual(rows.map(use));
  }
});

/** Pairs of filters whose people differ by two, all of them learners of the course. */
const pairs: [string, string][] = [
  ["near.part", "near.whole"],
  ["~near.part", "~near.whole"],
  ["counted & near.part", "near.whole"],
  ["near.whole & ~near.part & counted", "few & near.part"],
  ["near.whole & ~cut.few", "near.whole"],
  ["near.whole", "near.part & near.whole & ~cut.few"],
];

test.each(Object.keys(calls))("%s: the difference of two filters is not that of two people", async (name) => {
  const isOfCourse = ofCourses.some(([each]) => each === name);
  for (const [one, other] of isOfCourse ? [...pairs, ["course.part", "course.whole"]] : pairs) {
    const [shown, also] = [
      await ask("insights_analyst", name, `, among => '${one}'`),
      await ask("insights_analyst", name, `, among => '${other}'`),
    ];
    expect([one, other, shown]).toEqual([one, other, also]);
  }
  // Administrators see it, so that the filters are about something.
  expect(await ask("insights_admin", name, ", among => 'near.part'")).not.toEqual(
    await ask("insights_admin", name, ", among => 'near.whole'"),
  );
});

test.each([...Object.keys(dividing), ...Object.keys(filtered).filter((name) => name !== "anomalies")])(
  "%s: the difference of two values is not that of two people",
  async (name) => {
    const of = (rows: Row[], value: string): Row[] =>
      rows.filter(({ breakdown_value }) => breakdown_value === value).map(without);
    const isOfCourse = ofCourses.some(([each]) => each === name);
    for (const family of isOfCourse ? ["near", "course"] : ["near"]) {
      const rows = await ask("insights_analyst", name, `, breakdown => 'set.${family}'`);
      expect(of(rows, "part")).toEqual(of(rows, "whole"));
      const exact = await ask("insights_admin", name, `, breakdown => 'set.${family}'`);
      expect(of(exact, "part")).not.toEqual(of(exact, "whole"));
    }
  },
);

test.each(Object.keys(dividing))("%s: errors of a breakdown", async (name) => {
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

test.each(Object.keys(calls))("%s: errors of a filter", async (name) => {
  for (const role of ["insights_admin", "insights_analyst"]) {
    for (const among of ["pilto", "~pilto", "counted & pilto"])
      await expect(ask(role, name, `, among => '${among}'`)).rejects.toMatchObject({
        code: "CF002",
        hint: expect.stringContaining("pilot"),
      });
    await expect(ask(role, name, ", among => 'pilot or few'")).rejects.toMatchObject({ code: "CF001" });
  }
});

test.each(["paths", "sequences"])("%s: a comparison has no breakdown", async (name) => {
  await expect(ask("insights_admin", name, ", breakdown => 'set.pilot', compared_with => 'few'")).rejects.toMatchObject(
    { code: "CF001" },
  );
});
