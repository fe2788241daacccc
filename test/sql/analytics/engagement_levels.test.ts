import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";
import { iso, start, withFloor } from "./doings.ts";

const database = await testDatabase();
const structure: [item: string, kind: string, parent: string | null][] = [
  ["art", "course", null],
  ["art/1", "module", "art"],
  ["art/2", "module", "art"],
  ["p1", "page", "art/1"],
  ["p2", "page", "art/1"],
  ["p3", "page", "art/2"],
  ["welcome", "page", "art"],
  ["t1", "task", "art/2"],
];
await ingest(
  database,
  structure.map(([item, itemKind, parent]) =>
    message({
      userId: "catalogue",
      event: "Published",
      timestamp: iso(start),
      properties: { item, itemKind, itemTitle: item.toUpperCase(), ...(parent === null ? {} : { parent }) },
    }),
  ),
);
/** The items that each learner viewed. */
const views: Record<string, string[]> = {
  a: ["p1", "p2", "p3", "welcome"],
  b: ["p1", "p2"],
  c: ["p1", "p1"],
  d: ["welcome", "t1"],
  e: [],
  dropped: ["p1", "p2", "p3"],
  visitor: ["p1"],
};
await ingest(
  database,
  Object.entries(views).flatMap(([userId, items]) => [
    message({ userId, event: "Signed In", timestamp: iso(start) }),
    ...items.map((item, index) =>
      message({ userId, event: "Page Viewed", timestamp: iso(start + (index + 1) * 60_000), properties: { item } }),
    ),
  ]),
);
await database.query("create table enrolments (person text, item text, enrolled_at timestamptz, status text)");
await database.query(
  `insert into enrolments
   select person, 'art', $1, case person when 'dropped' then 'dropped' else 'active' end
   from unnest('{a,b,c,d,e,dropped}'::text[]) as person`,
  [iso(start)],
);
await database.query("select track.sync_enrolments('enrolments')");
await refresh(database);

const ask = (floor: number, rest = ""): Promise<object[]> =>
  withFloor(
    database,
    floor,
    `select section, title, item_count::int as items, level, person_count::int as people, round(share::numeric, 4)::float8 as share
     from analytics.engagement_levels('art'${rest})`,
  );

test("learners by section and level", async () => {
  const rows = (section: string, items: number, people: number[]) =>
    ["No pages viewed yet", "At least one page viewed", "All pages viewed"].map((level, index) => ({
      section,
      title: section.toUpperCase(),
      items,
      level,
      people: people[index],
      share: (people[index] as number) / 5,
    }));
  expect(await ask(1)).toEqual([
    ...rows("art", 1, [3, 0, 2]),
    ...rows("art/1", 2, [2, 1, 2]),
    ...rows("art/2", 1, [4, 0, 1]),
  ]);
});

test("problems", async () => {
  expect(await ask(1, ", 'task'")).toMatchObject([
    { section: "art/2", level: "No problems attempted yet", people: 4 },
    { section: "art/2", level: "At least one problem attempted", people: 0 },
    { section: "art/2", level: "All problems attempted", people: 1 },
  ]);
});

test("analysts see levels of enough people", async () => {
  expect(await ask(3)).toMatchObject([
    { section: "art", people: 3, share: 1 },
    { section: "art", people: 0, share: 0 },
    { section: "art", people: 0, share: 0 },
    { section: "art/1", people: 0, share: null },
    { section: "art/1", people: 0, share: null },
    { section: "art/1", people: 0, share: null },
    { section: "art/2", people: 3, share: 1 },
    { section: "art/2", people: 0, share: 0 },
    { section: "art/2", people: 0, share: 0 },
  ]);
});

test("of a set of people", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select track.set_person_set('some', array[track.find_person('a'), track.find_person('e')])");
    expect(
      await db.rows(
        `select section, person_count::int as people from analytics.engagement_levels('art', among => 'some')
         where level like 'All%'`,
      ),
    ).toEqual([
      { section: "art", people: 1 },
      { section: "art/1", people: 1 },
      { section: "art/2", people: 1 },
    ]);
  });
});

test.each([
  ["'arts'", "CF002", "arts"],
  ["null", "CF002", ""],
  ["'art', 'quiz'", "CF001", "quiz"],
  ["'art', 'video'", "CF002", 'course "art" contains no video'],
  ["'art', among => 'none'", "CF002", "none"],
])("engagement_levels(%s) is an error", async (given, code, text) => {
  expect(await database.rejects(`select * from analytics.engagement_levels(${given})`)).toMatchObject({
    code,
    message: expect.stringContaining(text),
  });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.engagement_levels('art')")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});

test("a course without structure is an error that says how it gets one", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [
      message({ event: "Course Started", userId: "ann", properties: { item: "bare", itemKind: "course" } }),
    ]);
    for (const question of ["engagement_levels('bare')", "stopping_points('bare', 'page')"]) {
      expect(await db.rejects(`select * from analytics.${question}`)).toMatchObject({
        code: "CF002",
        hint: expect.stringContaining("no structure yet"),
      });
    }
  });
});
