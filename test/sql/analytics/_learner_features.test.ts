import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest, type Message, message, refresh } from "../track/messages.ts";
import { makeKnownCourse } from "./known-course.ts";

const database = await testDatabase();
await makeKnownCourse(database);

interface Features {
  person: string;
  [name: string]: unknown;
}

const featuresAt = (moment: string, course: string): Promise<Features[]> =>
  database.rows<Features>(
    `select identity.external_id as person, feature.*
     from analytics._learner_features(array[$1::timestamptz], (select array_agg(item_id) from track.item where external_id = $2)) as feature
     join track.identity using (person_id)
     where identity.kind = 'user'
     order by 1`,
    [moment, course],
  );

test("equals the computation from a calendar, for learners of the course who have not opted out", async () => {
  const [ann, bob, ...others] = await featuresAt("2025-03-15 00:00Z", "known");
  expect(others).toEqual([]);
  expect(ann).toMatchObject({
    person: "ann",
    days_enrolled: 14,
    days_idle: 3,
    active_days: 3,
    active_days_week_1: 1,
    active_days_week_2: 2,
    active_days_week_3: 0,
    events: 3,
    events_week_1: 1,
    events_week_2: 2,
    mean_gap: 4.5,
    gap_deviation: 2.5,
    longest_gap: 7,
    share_of_items: 2 / 3,
    share_of_tasks: 1 / 2,
    tasks_overdue: 0,
    mean_days_late: -5,
    active_days_anywhere_week_1: 2,
    course_active_share: 1 / 2,
    days_to_end: 17,
    known_at: new Date("2025-03-13T00:00Z"),
  });
  expect(bob).toMatchObject({
    person: "bob",
    days_enrolled: 13,
    days_idle: 13,
    active_days: 0,
    events: 0,
    mean_gap: null,
    share_of_items: 0,
    tasks_overdue: 1,
    mean_days_late: null,
    known_at: new Date("2025-03-02T00:00Z"),
  });
});

test("counts the hours since midnight, and not what comes later that day", async () => {
  const before = (await featuresAt("2025-03-12 09:00Z", "known")).find(({ person }) => person === "ann");
  expect(before).toMatchObject({ days_idle: 7, active_days: 2, known_at: new Date("2025-03-06T00:00Z") });
  const after = (await featuresAt("2025-03-12 09:00:01Z", "known")).find(({ person }) => person === "ann");
  expect(after).toMatchObject({ days_idle: 0, active_days: 3, known_at: new Date("2025-03-12T09:00Z") });
  // Learners who had not completed it yet are included.
  expect((await featuresAt("2025-03-04 00:00Z", "known")).map(({ person }) => person)).toEqual(["ann", "bob", "dan"]);
});

test("the outcomes", async () => {
  const outcomes = (target: string, horizon: string): Promise<{ person: string; outcome: number }[]> =>
    database.rows(
      `select external_id as person, outcome
       from analytics._learner_outcomes($1, array['2025-03-04 00:00Z'::timestamptz], $2::interval)
       join track.identity using (person_id)
       where kind = 'user' order by 1`,
      [target, horizon],
    );
  const of = async (target: string, horizon: string): Promise<Record<string, number>> =>
    Object.fromEntries((await outcomes(target, horizon)).map(({ person, outcome }) => [person, outcome]));
  expect(await of("dropout", "7 days")).toEqual({ ann: 0, bob: 1, cat: 0, dan: 0 });
  expect(await of("dropout", "14 days")).toEqual({ ann: 0, bob: 0, cat: 0, dan: 0 });
  expect(await of("completion", "7 days")).toEqual({ ann: 0, bob: 0, cat: 0, dan: 1 });
  expect(await of("activity", "14 days")).toEqual({ ann: 3, bob: 1, cat: 1, dan: 0 });
});

const features = (moment: string): string => `
  select identity.external_id as person, feature.*
  from analytics._learner_features(array['${moment}'::timestamptz]) as feature
  join track.identity using (person_id)
  where identity.kind = 'user'
  order by 1, course_id`;

test("automatic events are not activity of the learner, since midnight and before, and in outcomes", async () => {
  await database.as("postgres", {}, async (db) => {
    const read = async () => [
      await db.rows(features("2025-03-15 00:00Z")),
      await db.rows(features("2025-03-15 12:00Z")),
      await db.rows(
        "select * from analytics._learner_outcomes('dropout', array['2025-03-04 00:00Z'::timestamptz], '7 days') order by 1, 2",
      ),
    ];
    const before = await read();
    const automatic = (at: string, fields: Message): Message =>
      message({ userId: "bob", timestamp: `2025-03-${at}Z`, properties: { item: "essay" }, ...fields });
    const graded = { event: "Task Graded" };
    await ingest(db, [automatic("05 10:00", graded), automatic("14 10:00", graded), automatic("15 10:00", graded)]);
    await db.query("insert into track.source (name, is_automatic) values ('job', true)");
    await db.query("select set_config('insights.source', 'job', true)");
    await ingest(
      db,
      ["06 11:00", "14 11:00", "15 11:00"].map((at) => automatic(at, { event: "Page Viewed" })),
    );
    await refresh(db);
    expect(await db.value("select sum(automatic_count)::int from analytics.activity")).toBe(6);
    expect(await read()).toEqual(before);
  });
});

test("a page that stays open is activity on the day on which it is used again", async () => {
  await database.as("postgres", {}, async (db) => {
    const beat = (second: string): Message =>
      message({
        userId: "bob",
        event: "Heartbeat",
        timestamp: `2025-03-14T10:00:${second}Z`,
        properties: { viewId: "v" },
      });
    const view = { userId: "bob", event: "Page Viewed", timestamp: "2025-03-09T10:00Z" };
    await ingest(db, [message({ ...view, properties: { item: "page", viewId: "v" } }), beat("05"), beat("15")]);
    await refresh(db);
    const known = { events: 1, active_days: 2, engaged_minutes: 0.25 };
    for (const [moment, idle] of [
      ["2025-03-15 00:00Z", 1],
      ["2025-03-14 12:00Z", 0],
    ] as const) {
      expect((await db.rows<Features>(features(moment))).find(({ person }) => person === "bob")).toMatchObject({
        days_idle: idle,
        ...known,
      });
    }
  });
});
