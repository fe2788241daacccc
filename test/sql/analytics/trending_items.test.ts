import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, type Message, message, refresh } from "../track/messages.ts";
import { DAY, iso, makeDoings, start, withFloor } from "./doings.ts";

const database = await testDatabase();
await makeDoings(database);

/**
 * The scores from the events, in plain SQL. $1: kind, $2 and $3: the days of the period, $4: half-life in days, $5: bias,
 * $6: measure, $7: number of earlier periods, $8: the people who count; null: all who have signed in and are not excluded.
 */
const PLAIN = `
  with visible as (
    select event.person_id, (event.occurred_at at time zone 'UTC')::date as day, target.external_id as item
    from track.event
    join track.item_ancestor as ancestor using (item_id)
    join track.item as target on target.item_id = ancestor.ancestor_item_id
    where case when $1::text is null then ancestor.depth = 0 else target.kind = $1 end
      and exists (select from track.identity where person_id = event.person_id and kind = 'user')
      and not exists (
        select from track.identity join track.exclusion using (identity_id) where person_id = event.person_id
      )
      and ($8::bigint[] is null or event.person_id = any ($8))
  ),
  x as (
    select item, ($3::date - 1 - day) / ($3::date - $2::date) as period,
      case when $6 = 'events' then count(*) else count(distinct (person_id, day)) end::float8 as measured
    from visible
    where day < $3::date and ($3::date - 1 - day) / ($3::date - $2::date) <= $7::int
    group by 1, 2
  ),
  total as (select period, sum(measured) as measured from x group by 1),
  earlier as (
    select period, measured, 0.5 ^ (period * ($3::date - $2::date) / $4::float8) * measured as weight,
      (select measured from total where period = 0) as now
    from total where period > 0
  ),
  share as (
    select recent.item, recent.measured, earlier.weight,
      coalesce((select measured from x where x.item = recent.item and x.period = earlier.period), 0)
        / earlier.measured * earlier.now as y
    from x as recent cross join earlier where recent.period = 0
  ),
  mean as (select item, measured, sum(weight * y) / sum(weight) as expected from share group by 1, 2),
  spread as (
    select item, mean.measured, expected, sum(weight * (y - expected) ^ 2) / sum(weight) as variance
    from mean join share using (item) group by 1, 2, 3
  )
  select item, measured, expected, sqrt(greatest(variance, expected)) as deviation,
    (measured - greatest(expected, $5::float8)) / (sqrt(greatest(variance, expected)) + $5::float8) as score
  from spread
  where measured > greatest(expected, $5::float8)
  order by round(((measured - greatest(expected, $5::float8)) / (sqrt(greatest(variance, expected)) + $5::float8))::numeric, 9) desc,
    measured desc, item`;

interface Trending {
  item: string;
  measured: number;
  expected: number;
  deviation: number;
  score: number;
}

const close = (row: Trending) => ({
  item: row.item,
  measured: row.measured,
  expected: expect.closeTo(row.expected, 7),
  deviation: expect.closeTo(row.deviation, 7),
  score: expect.closeTo(row.score, 7),
});

describe("equals the events", () => {
  let found = 0;
  for (const kind of ["course", "page", null]) {
    for (const measure of ["people", "events"]) {
      for (const [first, end, halfLife] of [
        [21, 28, 14],
        [10, 12, 4],
        [35, 36, 2],
        [0, 7, 28],
      ] as const) {
        test(`kind ${kind}, ${measure}, days ${first} to ${end}, half-life of ${halfLife} days`, async () => {
          const days = [first, end].map((day) => iso(start + day * DAY).slice(0, 10));
          const periods = Math.max(1, Math.floor((4 * halfLife) / (end - first)));
          const expected = await database.rows<Trending>(PLAIN, [kind, ...days, halfLife, 1, measure, periods, null]);
          const rows = await withFloor<Trending>(
            database,
            1,
            `select item, measured, expected, deviation, score
             from analytics.trending_items($1, $2, $3, $4, make_interval(days => $5), bias => 1)`,
            [kind, ...days, measure, halfLife],
          );
          expect(rows).toEqual(expected.map(close));
          found += rows.length;
        });
      }
    }
  }

  test("and something trends", () => expect(found).toBeGreaterThan(10));

  test("with events that are not refreshed, of excluded and of linked people, and of a set of people", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query("update analytics.setting set smallest_group = 1");
      await db.query(
        "select track.set_person_set('few', array(select track.find_person(name) from unnest('{p1,p2,p3,p4}'::text[]) as name))",
      );
      await refresh(db);
      const read = (person: string, item: string, day: number, index: number): Message =>
        message({
          userId: person,
          messageId: `${person} ${item} ${day} ${index}`,
          timestamp: iso(start + day * DAY),
          properties: { item },
        });
      await ingest(
        db,
        Array.from({ length: 40 }, (_, index) =>
          read(`p${index % 9}`, index % 3 === 0 ? "page-a" : "page-c", 20 + (index % 8), index),
        ),
      );
      await db.query("select track.exclude_person('p7', 'test')");
      await db.query("select track.link_identities('p1', 'p2')");
      const ask = async (kind: string | null, measure: string, among: string | null): Promise<void> => {
        const people = among === null ? null : await db.value("select array(select track.person_set_members('few'))");
        const days = [21, 28].map((day) => iso(start + day * DAY).slice(0, 10));
        const expected = await db.rows<Trending>(PLAIN, [kind, ...days, 14, 1, measure, 8, people]);
        expect(
          await db.rows(
            `select item, measured, expected, deviation, score
             from analytics.trending_items($1, $2, $3, $4, '14 days', among => $5, bias => 1)`,
            [kind, ...days, measure, among],
          ),
        ).toEqual(expected.map(close));
      };
      const askAll = async (): Promise<void> => {
        for (const kind of ["course", "page", null])
          for (const measure of ["people", "events"]) await ask(kind, measure, null);
      };
      await askAll();
      await refresh(db);
      await askAll();
      for (const kind of ["course", null]) for (const measure of ["people", "events"]) await ask(kind, measure, "few");
    });
  });

  test("items with parts, other than courses", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query("update analytics.setting set smallest_group = 1");
      const use = (person: string, item: string, day: number, properties = {}): Message =>
        message({
          userId: person,
          messageId: `${person} ${item} ${day}`,
          timestamp: iso(start + (60 + day) * DAY),
          properties: { item, ...properties },
        });
      await ingest(db, [
        use("p1", "module-1", 0, { itemKind: "module" }),
        use("p1", "module-2", 0, { itemKind: "module" }),
        ...["x", "y"].flatMap((part) =>
          ["p1", "p2", "p3"].flatMap((person) =>
            [1, 2, 9].map((day) => use(person, `module-1/${part}`, day, { itemKind: "page", parent: "module-1" })),
          ),
        ),
        ...["p1", "p2"].map((person) => use(person, "module-2", 3)),
      ]);
      const days = [67, 74].map((day) => iso(start + day * DAY).slice(0, 10));
      const expected = await db.rows<Trending>(PLAIN, ["module", ...days, 14, 1, "people", 8, null]);
      // On the day, three people used the module, though each of them used two of its pages.
      expect(expected).toMatchObject([{ item: "module-1", measured: 3 }]);
      const ask = () =>
        db.rows(
          `select item, measured, expected, deviation, score
           from analytics.trending_items('module', $1, $2, half_life => '14 days', bias => 1)`,
          days,
        );
      expect(await ask()).toEqual(expected.map(close));
      await refresh(db);
      expect(await ask()).toEqual(expected.map(close));
    });
  });
});

/** Weeks of a platform from Monday, 7 September 2026: people per course and day. */
async function platform(db: Queries, weeks: readonly Record<string, number>[]): Promise<void> {
  await db.query("update analytics.setting set smallest_group = 1");
  const messages: Message[] = [
    message({ userId: "author", timestamp: "2026-01-01T00:00:00Z", properties: { item: "c1", itemKind: "course" } }),
    ...["c2", "c3", "c4"].map((item) =>
      message({ userId: "author", timestamp: "2026-01-01T00:00:00Z", properties: { item, itemKind: "course" } }),
    ),
  ];
  for (const [week, courses] of weeks.entries())
    for (const [item, people] of Object.entries(courses))
      for (let person = 0; person < people; person += 1)
        messages.push(
          message({
            userId: `u${person}`,
            timestamp: iso(Date.parse("2026-09-07T10:00:00Z") + (week * 7 + (person % 5)) * DAY),
            properties: { item },
          }),
        );
  await ingest(db, messages);
  await refresh(db);
}

const trending = (db: Queries, week: number) =>
  db.rows<Trending & { growth: number | null }>("select * from analytics.trending_items('course', $1, $2)", [
    iso(Date.parse("2026-09-07") + week * 7 * DAY),
    iso(Date.parse("2026-09-14") + week * 7 * DAY),
  ]);

const empty = await testDatabase();

describe("what trends", () => {
  const usual = { c1: 100, c2: 40, c3: 20 };

  test("the course that gained, not those that are always used most", async () => {
    await empty.as("postgres", {}, async (db) => {
      await platform(db, [usual, usual, usual, usual, { ...usual, c3: 60 }]);
      const rows = await trending(db, 4);
      expect(rows.map(({ item }) => item)).toEqual(["c3"]);
      expect(rows[0]?.score).toBeGreaterThan(3);
      expect(rows[0]?.growth).toBeGreaterThan(1);
      // A week later the course is expected to be used more.
      expect(await trending(db, 3)).toEqual([]);
    });
  });

  test("nothing in a holiday, at the start of a term, or in a week that has just started", async () => {
    await empty.as("postgres", {}, async (db) => {
      const times = (factor: number) =>
        Object.fromEntries(Object.entries(usual).map(([item, people]) => [item, people * factor]));
      await platform(db, [usual, usual, times(0.2), times(3), usual]);
      for (const week of [1, 2, 3, 4]) expect(await trending(db, week)).toEqual([]);
    });
  });

  test("not an item of few people, however large its growth; one that is new, with enough of them", async () => {
    await empty.as("postgres", {}, async (db) => {
      await platform(db, [usual, usual, usual, { ...usual, c4: 4 }]);
      expect(await trending(db, 3)).toEqual([]);
      await platform(db, [{}, {}, {}, { c4: 40 }]);
      expect(await trending(db, 3)).toMatchObject([{ item: "c4", expected: 0, growth: null }]);
    });
  });

  test("not an item that one person sends a thousand events about", async () => {
    await empty.as("postgres", {}, async (db) => {
      await platform(db, [usual, usual, usual, usual]);
      await ingest(
        db,
        Array.from({ length: 1000 }, (_, index) =>
          message({
            userId: "u1",
            timestamp: iso(Date.parse("2026-09-29T10:00:00Z") + index * 1000),
            properties: { item: "c2" },
          }),
        ),
      );
      expect(await trending(db, 3)).toEqual([]);
      expect(
        (
          await db.rows<Trending>(
            "select item from analytics.trending_items('course', '2026-09-28Z', '2026-10-05Z', 'events')",
          )
        )[0]?.item,
      ).toBe("c2");
    });
  });

  test("nothing without an earlier period", async () => {
    await empty.as("postgres", {}, async (db) => {
      await platform(db, [usual]);
      expect(await trending(db, 0)).toEqual([]);
    });
  });

  test("an item that swings every week less than one that never did", async () => {
    await empty.as("postgres", {}, async (db) => {
      await platform(db, [
        { c1: 300, c2: 20, c3: 50 },
        { c1: 300, c2: 80, c3: 50 },
        { c1: 300, c2: 20, c3: 50 },
        { c1: 300, c2: 80, c3: 50 },
        { c1: 300, c2: 20, c3: 50 },
        { c1: 300, c2: 90, c3: 90 },
      ]);
      const rows = await trending(db, 5);
      expect(rows[0]?.item).toBe("c3");
      expect(rows.find(({ item }) => item === "c2")?.score ?? 0).toBeLessThan((rows[0]?.score ?? 0) / 2);
    });
  });
});

test("analysts see days of enough people only, rounded, and nothing of one learner below the floor", async () => {
  await empty.as("postgres", {}, async (db) => {
    await platform(db, [
      { c1: 200, c2: 60, c3: 30 },
      { c1: 200, c2: 60, c3: 30 },
      { c1: 200, c2: 60, c3: 30 },
      { c1: 200, c2: 60, c3: 100 },
    ]);
    await db.query("update analytics.setting set smallest_group = 5");
    const answer = async (): Promise<Trending[]> => {
      await refresh(db);
      await db.query("set local role insights_analyst");
      const rows = [];
      for (const [since, until] of [
        ["2026-09-28Z", "2026-10-05Z"],
        ["2026-09-28Z", "2026-10-04Z"],
        ["2026-10-01Z", "2026-10-02Z"],
      ])
        for (const kind of ["course", null])
          for (const measure of ["people", "events", "engaged"])
            rows.push(
              ...(await db.rows<Trending>("select * from analytics.trending_items($1, $2, $3, $4)", [
                kind,
                since,
                until,
                measure,
              ])),
            );
      await db.query("set local role postgres");
      return rows;
    };
    const before = await answer();
    expect(before[0]).toMatchObject({ item: "c3" });
    // 100 people of five days of 20 people each: to a multiple of 5 times 8, the smallest power of two from 100 / 20 on.
    expect(before[0]?.measured).toBe(120);
    const use = (userId: string, item: string, at: string, index: number) =>
      message({ userId, timestamp: at, properties: { item }, messageId: `${userId} ${item} ${at} ${index}` });
    // Saturday, alone, and an item of four people.
    await ingest(
      db,
      Array.from({ length: 50 }, (_, index) =>
        use("u1", "c3", `2026-10-03T10:00:${String(index).padStart(2, "0")}Z`, index),
      ),
    );
    expect(await answer()).toEqual(before);
    await ingest(
      db,
      ["u1", "u2", "u3", "u4"].map((person, index) => use(person, "c4", "2026-10-01T10:00:00Z", index)),
    );
    expect(await answer()).toEqual(before);
    await ingest(
      db,
      Array.from({ length: 30 }, (_, index) =>
        message({
          userId: undefined,
          anonymousId: `invented ${index}`,
          timestamp: "2026-10-01T10:00:00Z",
          properties: { item: "c4" },
        }),
      ),
    );
    expect(await answer()).toEqual(before);
  });
});

test.each([
  ["'planet'", "CF002"],
  ["since => '2026-01-02', until => '2026-01-01'", "CF001"],
  ["since => null", "CF001"],
  ["since => '-infinity'", "CF008"],
  ["until => 'infinity'", "CF008"],
  ["since => now() - interval '400 days'", "CF008"],
  ["measure => 'likes'", "CF001"],
  ["measure => null", "CF001"],
  ["half_life => '0'", "CF001"],
  ["half_life => null", "CF001"],
  ["half_life => '100 years'", "CF001"],
  ["top => 0", "CF001"],
  ["bias => 0", "CF001"],
  ["bias => 'nan'", "CF001"],
  ["bias => null", "CF001"],
  ["among => 'no.such_set'", "CF002"],
])("trending_items(%s) is %s, with a hint", async (values, code) => {
  const error = await database.rejects(`select * from analytics.trending_items(${values})`);
  expect(error).toMatchObject({ code });
  expect(error.hint).toBeTruthy();
});

test("is for those who analyse", async () => {
  expect(await rolesThatMay(database, "select * from analytics.trending_items()")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
