import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { makeRecentUse } from "../../support/recent.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();
await makeRecentUse(database);
const unused = await testDatabase();

/** Each view beside the call whose figures it has. */
const views: Record<string, { rows: string; called: string }> = {
  daily_events: {
    rows: "select day_start, event_count, person_count, is_complete from analytics.daily_events where event = 'Page Viewed'",
    called: `select bucket_start as day_start, event_count, person_count, is_complete
      from analytics.trend('Page Viewed', 'day', now() - interval '400 days', now())`,
  },
  weekly_events: {
    rows: "select week_start, event_count, person_count, is_complete from analytics.weekly_events where event = 'Page Viewed'",
    called: `select bucket_start as week_start, event_count, person_count, is_complete
      from analytics.trend('Page Viewed', 'week', now() - interval '400 days', now())`,
  },
  daily_active_people: {
    rows: `select day_start, days, person_count, is_complete
      from analytics.daily_active_people
      cross join lateral (values (1, daily_people), (7, weekly_people), (30, monthly_people)) as by_days (days, person_count)
      order by 1, 2`,
    called: `select bucket_start as day_start, window_days as days, person_count, is_complete
      from analytics.active_people(since => now() - interval '400 days') order by 1, 2`,
  },
  weekly_lifecycle: {
    rows: "select * from analytics.weekly_lifecycle order by 1",
    called: `select bucket_start as week_start, new_people, returning_people, resurrecting_people, dormant_people, is_complete
      from analytics.lifecycle(since => now() - interval '400 days') order by 1`,
  },
  weekly_retention: {
    rows: "select * from analytics.weekly_retention order by 1, 3",
    called: `select cohort_start as cohort_week_start, cohort_size, period as weeks_later, period_start as week_start,
        person_count, share, is_complete
      from analytics.retention(since => now() - interval '182 days', periods => 26)
      where cohort_start is not null order by 1, 3`,
  },
  course_overview: {
    rows: "select course, title, person_count, enrolment_count, completion_count, dropped_count, completion_rate, event_count, round(engaged_hours * 3600)::int as seconds, last_day, refreshed_at from analytics.course_overview",
    called:
      "select course, title, person_count, enrolment_count, completion_count, dropped_count, completion_rate, event_count, round(extract(epoch from engaged))::int as seconds, last_day, refreshed_at from analytics.course_summaries()",
  },
  course_popularity: {
    rows: `select rank, course, title, person_count, event_count, round(engaged_hours * 3600)::int as seconds, enrolment_count,
        completion_count, completion_rate, rating_count, mean_rating
      from analytics.course_popularity order by rank`,
    called: `select rank, course, title, person_count, event_count, round(extract(epoch from engaged))::int as seconds,
        enrolment_count, completion_count, completion_rate, rating_count, mean_rating
      from analytics.popular_courses(now() - interval '28 days', now(), top => 1000) order by rank`,
  },
  feature_overview: {
    rows: "select * from analytics.feature_overview order by rank",
    called: `select rank, event, person_count, event_count, adoption_rate, events_per_person, days_per_person,
        new_person_count, return_rate, person_growth, first_day, last_day
      from analytics.feature_usage(since => now() - interval '28 days', top => 1000) order by rank`,
  },
  segment_overview: {
    rows: "select * from analytics.segment_overview order by 1",
    called:
      "select segment, description, person_count, share, former_count, as_of, former_as_of from analytics.segments() order by 1",
  },
  cohort_overview: {
    rows: "select * from analytics.cohort_overview order by 1",
    called: "select name, description, is_live, person_count, as_of from analytics.cohorts() order by 1",
  },
};

test("each view of the schema is here", async () => {
  const names = await database.rows<{ name: string }>(
    "select relname::text as name from pg_class where relnamespace = 'analytics'::regnamespace and relkind = 'v' order by 1",
  );
  expect(names.map(({ name }) => name)).toEqual(Object.keys(views).sort());
});

test.each(Object.entries(views))(
  "%s has the figures of its function, for each role",
  async (name, { rows, called }) => {
    const answers: Record<string, unknown[]> = {};
    for (const role of ["insights_analyst", "insights_admin"]) {
      await database.as(role, {}, async (db) => {
        const list = await db.rows(rows);
        expect(list).toEqual(await db.rows(called));
        expect(list.length).toBeGreaterThan(1);
        answers[role] = list;
      });
    }
    expect(answers["insights_analyst"]).not.toEqual(answers["insights_admin"]);
    expect(await rolesThatMay(database, `select * from analytics.${name} limit 1`)).toEqual([
      "analyst",
      "admin",
      "worker",
    ]);
  },
);

test("the names that a merge has replaced have no rows of their own", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await ingest(db, [message({ userId: "ada", event: "Task Handed In" })]);
    await db.query("select track.merge_events('Task Handed In', 'Task Submitted')");
    const names = await db.rows<{ event: string }>("select distinct event from analytics.weekly_events");
    expect(names.map(({ event }) => event)).not.toContain("Task Handed In");
  });
});

test.each(["insights_analyst", "insights_admin"])("before the first event, %s reads everything", async (role) => {
  await unused.as(role, {}, async (db) => {
    const functions = ["stickiness()", "segments()", "rfm()", "popular_courses()", "feature_usage()"];
    for (const name of [...Object.keys(views), ...functions]) {
      await db.query(`select * from analytics.${name}`);
    }
    for (const name of ["trend", "retention", "lifecycle", "stickiness", "active_people"]) {
      await db.query(`select * from analytics.${name}(among => 'counted', breakdown => 'trait.plan')`);
    }
    expect(await db.rows("select distinct new_people::int, dormant_people::int from analytics.lifecycle()")).toEqual([
      { new_people: 0, dormant_people: 0 },
    ]);
  });
});
