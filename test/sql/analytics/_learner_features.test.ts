import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
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
