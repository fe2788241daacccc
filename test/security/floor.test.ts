import { beforeAll, describe, expect, test } from "vitest";
import { ingest, type Message, refresh as refreshAll } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { isFull } from "../support/runs.ts";
import { learners, makeWorld, refresh } from "../support/world.ts";

/*
 * The floor of the answers to analysts, attacked by any sequence of queries, by events of anonymous browsers, and by
 * comparison. First similar items: a recommender learns from single people, and every reader may query similar items: where one person took an item, the
 * answer would be the other items of this person. So items of fewer people than the floor of analytics are not
 * answered.
 */

const database = await testDatabase();

async function enrol(people: readonly string[]): Promise<void> {
  await database.query("select track.ingest($1)", [
    JSON.stringify(
      people.map((person) => ({
        type: "track",
        messageId: `${person} in the group`,
        userId: person,
        event: "Course Enrolled",
        properties: { item: "course-group", itemKind: "course" },
      })),
    ),
  ]);
  await refresh(database);
  await database.query("select recommend.train('course')");
}

const similar = (role: string, item: string): Promise<string[]> =>
  database.as(role, {}, async (db) =>
    (await db.rows<{ item: string }>("select item from recommend.similar_items($1)", [item])).map(({ item }) => item),
  );

beforeAll(() => makeWorld(database));

test("without a floor each reader sees the other items of one person", async () => {
  await database.query("update analytics.setting set smallest_group = 1");
  await enrol(["ben"]);
  for (const role of ["insights_analyst", "insights_learner"]) {
    expect(await similar(role, "course-group")).toEqual(expect.arrayContaining(["course-poetry", "course-drama"]));
  }
});

test("with it, no reader can query the item, nor finds it among the others", async () => {
  await database.query("update analytics.setting set smallest_group = 5");
  await enrol([]);
  for (const role of ["insights_analyst", "insights_learner"]) {
    await database.as(role, {}, async (db) => {
      expect(await db.rejects("select * from recommend.similar_items('course-group')")).toMatchObject({
        code: "CF006",
        hint: expect.stringContaining("Fewer than 5 people"),
      });
    });
    expect(await similar(role, "course-poetry")).not.toContain("course-group");
  }
});

test("an item of a group is answered", async () => {
  await enrol(learners.slice(0, 6));
  expect(await similar("insights_analyst", "course-group")).not.toEqual([]);
});

describe("figures of analysts", () => {
  const HOUR = 3_600_000;
  const monday = Date.UTC(2026, 1, 2);
  const at = (day: number, hour = 10, millisecond = 0): string =>
    new Date(monday + day * 24 * HOUR + hour * HOUR + millisecond).toISOString();
  const names = Array.from({ length: 20 }, (_, number) => `learner-${number}`);
  let sent = 0;
  const read = (who: string, timestamp: string, item = "course-p", event = "Chapter Read"): Message => ({
    type: "track",
    messageId: `floor ${sent++}`,
    ...(who.startsWith("browser") ? { anonymousId: who } : { userId: who }),
    event,
    timestamp,
    properties: { item, itemKind: "course" },
  });
  const many = (count: number, who: string, timestamp: string, item?: string): Message[] =>
    Array.from({ length: count }, () => read(who, timestamp, item));

  /** The first six learners from Monday to Saturday at ten, and seven at noon: no day and hour of few. */
  const usual = (): Message[] => [
    ...Array.from({ length: 6 }, (_, day) => names.slice(0, 6).map((who) => read(who, at(day)))).flat(),
    ...Array.from({ length: 6 }, (_, day) => names.slice(0, 7).map((who) => read(who, at(day, 12)))).flat(),
    read("catalogue", "2026-01-01T00:00:00Z", "course-q", "Published"),
  ];

  const worlds = async <T>(messages: readonly Message[], work: (db: Queries) => Promise<T>): Promise<T> =>
    await database.as("postgres", {}, async (db) => {
      await db.query("update analytics.setting set smallest_group = 5");
      await ingest(db, [...messages]);
      await refreshAll(db);
      return await work(db);
    });

  const periods: [string, string][] = [
    ...Array.from({ length: 8 }, (_, day): [string, string] => [at(0, 0), at(day + 1, 0)]),
    [at(6), at(6, 10, 1)],
    [at(2), at(7, 9)],
    [at(-1), at(6, 9)],
    ["2026-01-15T00:00:00Z", "2026-03-15T00:00:00Z"],
  ];
  const rankings = [
    ["course", "people", null],
    [null, "people", "1 second"],
    ["course", "events", null],
    [null, "events", "3 days"],
    ["course", "engaged", null],
  ];

  /** Everything that an analyst can ask about the events. */
  async function answers(db: Queries): Promise<Record<string, unknown[]>> {
    await db.query("set local role insights_analyst");
    const all: Record<string, unknown[]> = {};
    for (const [since, until] of periods) {
      for (const bucket of ["hour", "day", "week", "month"])
        all[`trend by ${bucket} ${since} ${until}`] = await db.rows(
          "select * from analytics.trend('Chapter Read', $1, $2, $3, 3)",
          [bucket, since, until],
        );
      for (const [kind, measure, halfLife] of rankings)
        all[`popular ${measure} ${halfLife} ${kind} ${since} ${until}`] = await db.rows(
          "select * from analytics.popular_items($1, $2, $3, $4::interval, 100, $5)",
          [kind, since, until, halfLife, measure],
        );
    }
    await db.query("reset role");
    return all;
  }

  let none: Record<string, unknown[]> = {};
  beforeAll(async () => {
    none = await worlds(usual(), answers);
  });

  test("are about something", () => {
    const all = none;
    expect(Object.values(all).filter((rows) => rows.length > 0).length).toBeGreaterThan(50);
    expect(all[`trend by week ${at(0, 0)} ${at(7, 0)}`]).toMatchObject([{ person_count: "5", event_count: "80" }]);
    expect(all[`popular people null course ${at(0, 0)} ${at(7, 0)}`]).toMatchObject([
      { item: "course-p", person_count: "5", event_count: "80" },
    ]);
  });

  test.each<[string, () => Message[]]>([
    ["four browsers in an hour of three", () => [1, 2, 3, 4].flatMap((number) => many(3, `browser-${number}`, at(8)))],
    ["browsers in an hour of seven, one at a time", () => many(1, "browser-1", at(0, 12))],
    ["enough to round a figure upwards", () => many(40, "browser-1", at(0, 12))],
    [
      "each its own browser",
      () => Array.from({ length: 9 }, (_, number) => read(`browser-${number}`, at(number % 7, 12))),
    ],
  ])("are the same whatever anonymous browsers do: %s", async (_, invented) => {
    const few = names.slice(0, 3).map((who) => read(who, at(8)));
    expect(await worlds([...usual(), ...few, ...invented()], answers)).toEqual(none);
  });

  test.each<[string, (count: number) => Message[]]>([
    ["on a day of its own", (count) => names.slice(0, count).map((who) => read(who, at(6)))],
    ["of other learners", (count) => names.slice(10, 10 + count).map((who) => read(who, at(6)))],
    ["with fifty events of each", (count) => names.slice(5, 5 + count).flatMap((who) => many(50, who, at(6)))],
    ["of an item of its own", (count) => names.slice(0, count).flatMap((who) => many(9, who, at(6), "course-q"))],
    ["in two hours", (count) => names.slice(0, count).flatMap((who) => [read(who, at(6, 3)), read(who, at(6, 4))])],
    [
      "at both ends of a week",
      (count) => names.slice(8, 8 + count).flatMap((who) => [read(who, at(6)), read(who, at(7))]),
    ],
  ])("are the same for none and for too few, in any period: %s", { timeout: 60_000 }, async (_, few) => {
    for (const count of isFull ? [1, 4] : [4]) expect(await worlds([...usual(), ...few(count)], answers)).toEqual(none);
    // Five are a group.
    expect(await worlds([...usual(), ...few(5)], answers)).not.toEqual(none);
  });

  test("small days of a week count together, in what contains the week", async () => {
    const days = names.slice(0, 6).map((who, day) => read(who, at(7 + day)));
    await worlds(days, async (db) => {
      await db.query("set local role insights_analyst");
      const events = async (bucket: string, since: string, until: string) =>
        await db.value("select sum(event_count)::int from analytics.trend('Chapter Read', $1, $2, $3)", [
          bucket,
          since,
          until,
        ]);
      const popular = async (since: string, until: string) =>
        await db.rows("select person_count::int as people from analytics.popular_items('course', $1, $2)", [
          since,
          until,
        ]);
      expect(await events("day", at(0), at(20))).toBe(0);
      expect(await events("week", at(8), at(9))).toBe(5);
      expect(await events("month", at(8), at(9))).toBe(5);
      expect(await popular(at(7), at(13))).toEqual([{ people: 5 }]);
      expect(await popular(at(8), at(13))).toEqual([]);
      expect(await popular(at(7), at(12))).toEqual([]);
    });
  });

  test("hours do not add up to a day that has an hour of few", async () => {
    const hours = async (messages: Message[]) =>
      await worlds(messages, async (db) => {
        await db.query("set local role insights_analyst");
        return await db.rows(
          `select extract(hour from bucket_start at time zone 'UTC')::int as hour, person_count::int as people
           from analytics.trend('Chapter Read', 'hour', $1, $2) where event_count > 0`,
          [at(0, 11), at(0, 14)],
        );
      });
    expect(await hours(usual())).toEqual([{ hour: 12, people: 5 }]);
    const afternoon = names.slice(0, 9).map((who) => read(who, at(0, 13)));
    expect(await hours([...usual(), ...afternoon])).toEqual([
      { hour: 12, people: 5 },
      { hour: 13, people: 10 },
    ]);
    // The hour of one learner is missing, and the smallest other one with it, which is before the period.
    const evening = [...usual(), ...afternoon, ...many(50, "learner-1", at(0, 20))];
    expect(await hours(evening)).toEqual([
      { hour: 12, people: 5 },
      { hour: 13, people: 10 },
    ]);
    expect(await hours([...usual().slice(36), ...afternoon, ...many(50, "learner-1", at(0, 20))])).toEqual([
      { hour: 13, people: 10 },
    ]);
  });

  test("are in the order of what is shown", async () => {
    const items = ["course-p", "course-q"].flatMap((item, place) =>
      names.slice(0, 6 + place).map((who) => read(who, at(0), item)),
    );
    const order = async (db: Queries, measure: string) =>
      (
        await db.rows<{ item: string }>("select item from analytics.popular_items('course', $1, $2, null, 9, $3)", [
          at(0),
          at(1),
          measure,
        ])
      ).map(({ item }) => item);
    await worlds(items, async (db) => {
      for (const measure of ["people", "events"]) {
        for (const role of ["insights_admin", "insights_worker"]) {
          await db.query(`set local role ${role}`);
          expect(await order(db, measure)).toEqual(["course-q", "course-p"]);
        }
        await db.query("set local role insights_analyst");
        expect(await order(db, measure)).toEqual(["course-p", "course-q"]);
        await db.query("reset role");
      }
    });
  });

  describe("are exact for admins and workers alone", () => {
    const one = "select person_count::int from analytics.trend('Chapter Read', 'day', '2026-02-08Z', '2026-02-09Z')";
    const all = "select sum(person_count)::int from analytics.popular_items('course', '2026-02-08Z', '2026-02-09Z')";
    const asLogin = async (work: (db: Queries) => Promise<void>) =>
      await worlds([...usual(), ...many(3, "learner-1", at(6))], async (db) => {
        // A login of the database that is a member of the role of analysts.
        await db.query("create role floor_login login");
        await db.query("grant insights_analyst to floor_login");
        await db.query("set local session authorization floor_login");
        await work(db);
        await db.query("reset session authorization");
      });

    test("by their role", async () => {
      await worlds([...usual(), ...many(3, "learner-1", at(6))], async (db) => {
        for (const [role, people] of [
          ["insights_admin", 1],
          ["insights_worker", 1],
          ["insights_analyst", 0],
        ] as const) {
          await db.query(`set local role ${role}`);
          expect(await db.value(one)).toBe(people);
          expect((await db.value(all)) ?? 0).toBe(people);
          await db.query("reset role");
        }
      });
    });

    test.each([
      "select * from analytics._trend_exact('Chapter Read', 'day', '2026-02-08Z', '2026-02-09Z', 7, 'UTC', null, null, null, 10)",
      "select * from analytics._trend_points('Chapter Read', 'day', '2026-02-08Z', '2026-02-09Z', 7, 'UTC', null, null, null, 10, null)",
      "select * from analytics._trend(1, '{2026-02-08Z,2026-02-09Z}')",
      "select * from analytics._trend_by_value(1, '{2026-02-08Z,2026-02-09Z}', null, null, null, 10)",
      "select * from analytics._trend_values(1, '{2026-02-08Z,2026-02-09Z}', null, null, null, null)",
      "select * from analytics._trend_uses(1, '{2026-02-08Z,2026-02-09Z}', null, null)",
      "select * from analytics._popular_items('course', '2026-02-08Z', '2026-02-09Z', null, 10, 'people', null, null, 10, 1)",
      "select * from analytics._popular_courses('2026-02-08Z', '2026-02-09Z', 'people', 10, null, 0.95, 25, null, 10, 1)",
      "select * from analytics._item_use_of('{1}', 'course', '2026-02-08', '2026-02-09', null, '2026-02-09', 1)",
      "select * from analytics._course_completion(null, null)",
      "select * from analytics._course_ratings(null, null)",
      "select * from analytics._course_summaries_exact()",
      "select * from analytics.course_summary",
      "select * from analytics._trending_items('course', '2026-02-08Z', '2026-02-09Z', 'people', '28 days', 10, null, 5, null, 10, null)",
      "select * from analytics._item_days('course', '2026-02-08', '2026-02-09', null)",
      "select * from analytics._feature_usage(null, null, '2026-02-08Z', '2026-02-09Z', 'people', 50, null, 7, true, 10, null)",
      "select * from analytics._feature_people(null, false, '2026-02-08', '2026-02-09', '2026-02-07', '2026-02-08', 7, null, null, 1)",
      "select analytics._people_among(null, 1)",
      "select * from analytics._course_outlook('dropout', now(), 1)",
      "update analytics.setting set smallest_group = 1",
      "set local role insights_admin",
      "select set_config('role', 'insights_admin', true)",
      "create function pg_temp.become() returns int language sql set role to insights_admin as 'select 1'; select pg_temp.become()",
    ])("not by %s", async (sql) => {
      await asLogin(async (db) => {
        expect(await db.rejects(sql)).toMatchObject({ code: "42501" });
      });
    });

    test("not by functions of the caller's own, in front of those of PostgreSQL", async () => {
      await asLogin(async (db) => {
        await db.query(
          `create function pg_temp.has_function_privilege(text, text) returns boolean language sql as 'select true';
           create function pg_temp._shown(float8, bigint, int, float8 default null) returns float8 language sql as 'select $1';
           set local search_path to pg_temp, pg_catalog, analytics`,
        );
        expect(await db.value(one)).toBe(0);
      });
    });

    test("not through a function of an analyst that an admin calls", async () => {
      await worlds([...usual(), ...many(3, "learner-1", at(6))], async (db) => {
        await db.query(
          `create schema floor_lab;
           create function floor_lab.kept() returns int language sql security definer as $$ ${one} $$;
           grant usage on schema floor_lab to public;
           grant create on schema floor_lab to insights_analyst;
           alter function floor_lab.kept() owner to insights_analyst;
           set local role insights_admin`,
        );
        expect(await db.value("select floor_lab.kept()")).toBe(0);
        expect(await db.value(one)).toBe(1);
      });
    });
  });

  test("the runs of tasks do not show analysts the number of people", async () => {
    await database.as("insights_analyst", {}, async (db) => {
      expect(await db.rows("select task, started_at, duration, outcome from monitor.run")).toEqual([]);
      for (const column of ["row_count", "detail", "error"])
        expect(await db.rejects(`select ${column} from monitor.run`)).toMatchObject({ code: "42501" });
    });
  });
});
