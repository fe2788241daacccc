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

test("weeks are complete days, so that they do not grow in the course of a day", async () => {
  const weeks = async (moment: string) => {
    const ann = (await featuresAt(moment, "known")).find(({ person }) => person === "ann");
    return [ann?.["active_days_week_1"], ann?.["active_days_week_2"], ann?.["events_week_1"], ann?.["events_week_2"]];
  };
  // Active on the 3rd, 5th and 12th. On the 12th, the last 7 complete days are the 5th to the 11th.
  for (const time of ["00:00", "09:00:01", "23:59"]) expect(await weeks(`2025-03-12 ${time}Z`)).toEqual([1, 1, 1, 1]);
  expect(await weeks("2025-03-13 00:00Z")).toEqual([1, 2, 1, 2]);
});

test("features, outcomes and times of snapshots are the same in every zone, also when its clocks change", async () => {
  const results = [];
  // The clocks of New York changed on the 9th of March 2025, those of Lord Howe by half an hour on the 6th of April.
  for (const zone of ["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati", "Australia/Lord_Howe"]) {
    results.push(
      await database.as("postgres", { timezone: zone }, async (db) => {
        // A session in progress at the time, from before midnight to after it.
        await ingest(
          db,
          ["12T23:50", "12T23:58", "13T00:06"].map((at) =>
            message({
              userId: "ann",
              event: "Page Viewed",
              timestamp: `2025-03-${at}:00Z`,
              properties: { item: "page" },
            }),
          ),
        );
        for (const at of ["06T00:20", "06T00:25"]) {
          await ingest(db, [
            message({
              userId: "bob",
              event: "Page Viewed",
              timestamp: `2025-03-${at}:00Z`,
              properties: { item: "page" },
            }),
          ]);
        }
        await refresh(db);
        return [
          await db.rows(
            `select feature.*
             from analytics._learner_features(
               array['2025-03-13 00:00Z', '2025-03-13 00:05Z', '2025-03-13 00:22Z']::timestamptz[], null
             ) as feature
             order by person_id, course_id, as_of`,
          ),
          await db.rows(
            `select outcome.*
             from unnest('{dropout,activity,completion}'::text[]) as target
             cross join analytics._learner_outcomes(target, array['2025-03-04 00:00Z']::timestamptz[], '12 days') as outcome
             order by target, person_id, course_id`,
          ),
          await db.rows(
            "select analytics._snapshot_times(entry, 60) from analytics.prediction_target as entry order by entry.target",
          ),
        ];
      }),
    );
  }
  expect(results[0]?.[0]).toHaveLength(6);
  for (const result of results) expect(result).toEqual(results[0]);
});

test("features and outcomes are the same before and after a refresh", async () => {
  await database.as("postgres", {}, async (db) => {
    const at = (userId: string, timestamp: string, event: string, item: string) =>
      message({ userId, timestamp, event, properties: { item } });
    await ingest(db, [
      at("ann", "2025-03-09T10:00:00Z", "Page Viewed", "page"),
      at("ann", "2025-03-14T10:00:00Z", "Task Submitted", "exam"),
      at("bob", "2025-03-13T23:59:59Z", "Page Viewed", "other"),
      message({ type: "alias", event: undefined, userId: "ann", previousId: "bob" }),
      at("eve", "2025-03-15T08:00:00Z", "Page Viewed", "page"),
    ]);
    const results = async () => [
      await db.rows(
        `select feature.*
         from analytics._learner_features(array['2025-03-15 00:00Z', '2025-03-15 12:00Z']::timestamptz[], null) as feature
         order by person_id, course_id, as_of`,
      ),
      await db.rows(
        `select * from analytics._learner_outcomes('activity', array['2025-03-04 00:00Z']::timestamptz[], '14 days')
         order by person_id, course_id`,
      ),
    ];
    const before = await results();
    expect(before[0]).toContainEqual(expect.objectContaining({ active_days: 5, share_of_tasks: 1 }));
    await db.query("select track.refresh_sessions(1)");
    expect(await results()).toEqual(before);
    await refresh(db);
    expect(await results()).toEqual(before);
  });
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
    expect(
      await db.value(
        "select sum(automatic_count)::int from track.activity_of(null, '-infinity', 'infinity') as activity",
      ),
    ).toBe(6);
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
