import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, refresh } from "../track/messages.ts";
import { DAY, iso, start, withFloor } from "./doings.ts";

const database = await testDatabase();

/** Sessions: the person, the hour at which it starts, and the seconds at which pages are opened; the last one is its end. */
const sessions: [person: number, hour: number, seconds: number[]][] = [
  ...[0, 1, 2, 3, 4, 5].map((person): [number, number, number[]] => [person, 1 + person, [0, 60, 300]]),
  [0, 9, [0]],
  [1, 9, [0, 5]],
  [2, 9, [0, 20]],
  // Of the next day, one person.
  [3, 30, [0, 100]],
];
await ingest(
  database,
  sessions.flatMap(([person, hour, seconds], session) =>
    seconds.map((second, index) => ({
      type: index > 0 && index === seconds.length - 1 ? "track" : "page",
      ...(index > 0 && index === seconds.length - 1 ? { event: "Left" } : {}),
      messageId: `${session} ${index}`,
      userId: `p${person}`,
      timestamp: iso(start + hour * 3_600_000 + second * 1000),
      properties: { item: `page-${index}`, itemKind: "page" },
    })),
  ),
);
await refresh(database);
const call = (rest = ""): string => `
  select bucket_start, session_count::int as sessions, person_count::int as people, mean_duration::text as duration,
    median_duration::text, mean_engaged::text as engaged, round(mean_views::numeric, 4)::float8 as views, bounce_count::int as bounces,
    round(bounce_rate::numeric, 4)::float8 as rate
  from analytics.session_trend('day', $1, $2${rest})`;
const period = [iso(start), iso(start + 2 * DAY)];

test("figures are those of the sessions that started in the bucket", async () => {
  expect(await withFloor(database, 1, call(), period)).toEqual([
    {
      bucket_start: new Date(start),
      sessions: 9,
      people: 6,
      // Six of 300 s, one of 0, 5 and 20 s.
      duration: "00:03:22.777778",
      median_duration: "00:05:00",
      engaged: "00:03:22.777778",
      views: 1.6667,
      bounces: 2,
      rate: 0.2222,
    },
    {
      bucket_start: new Date(start + DAY),
      sessions: 1,
      people: 1,
      duration: "00:01:40",
      median_duration: "00:01:40",
      engaged: "00:01:40",
      views: 1,
      bounces: 0,
      rate: 0,
    },
  ]);
});

test("analysts see days of enough people, rounded", async () => {
  const rows = await withFloor<Record<string, unknown>>(database, 5, call(), period);
  // 9 sessions of 6 people: units of 5 times 2.
  expect(rows).toMatchObject([
    { sessions: 10, people: 5, bounces: 0, rate: 0, median_duration: null },
    { sessions: 0, people: 0, duration: null, bounces: 0, rate: null },
  ]);
});

test("of sets of people, and by set", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select track.set_person_set('team.red', array[track.find_person('p0'), track.find_person('p1')])");
    expect(
      await db.rows(
        `select breakdown_value as team, session_count::int as sessions, bounce_count::int as bounces
         from analytics.session_trend('week', $1, $2, breakdown => 'set.team')`,
        period,
      ),
    ).toEqual([
      { team: "red", sessions: 4, bounces: 2 },
      { team: null, sessions: 6, bounces: 0 },
    ]);
    expect(
      await db.rows(
        "select session_count::int as sessions from analytics.session_trend('week', $1, $2, among => 'team.red')",
        period,
      ),
    ).toEqual([{ sessions: 4 }]);
    await db.query("select track.exclude_person('p0', 'staff')");
    await refresh(db);
    expect(
      await db.rows("select session_count::int as sessions from analytics.session_trend('week', $1, $2)", period),
    ).toEqual([{ sessions: 8 }]);
  });
});

test("the same sessions in another zone, by hour", async () => {
  const rows = await database.rows<{ sessions: number }>(
    `select sum(session_count)::int as sessions from analytics.session_trend('hour', $1, $2, 'Asia/Kolkata')`,
    period,
  );
  expect(rows).toEqual([{ sessions: sessions.length }]);
});

test.each([
  ["'fortnight'", "CF001"],
  ["'day', zone => 'Mars'", "CF002"],
  ["'day', among => 'none'", "CF002"],
  ["'day', breakdown => 'property.plan'", "CF001"],
  ["'minute', now() - interval '6 days', breakdown => 'trait.plan', top_values => 20", "CF008"],
])("session_trend(%s) is an error", async (argument, code) => {
  expect(await database.rejects(`select * from analytics.session_trend(${argument})`)).toMatchObject({ code });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.session_trend()")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
