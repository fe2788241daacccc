import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { did, happen, peopleOf } from "./people.ts";

const database = await testDatabase();
const names = ["new", "returning", "casual", "regular", "power", "dormant"];
const days = (person: string, ...list: number[]) => list.map((day) => did(person, day));
const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, index) => from + index);
await happen(
  database,
  ...days("newest", 0),
  ...days("new and busy", ...range(0, 20)),
  ...days("on the edge", 27),
  ...days("beyond the edge", 28),
  ...days("returning", 5, 60),
  ...days("returning on the edge", 27, 56),
  ...days("casual", 5, 6, 7, 55),
  ...days("regular", 5, 6, 7, 8, 28),
  ...days("regular at most", ...range(3, 11), 40),
  ...days("power", ...range(3, 12), 40),
  ...days("dormant", 60),
  did("never", 1, { event: "Task Graded" }),
);

const expected = {
  new: ["new and busy", "newest", "on the edge"],
  returning: ["returning", "returning on the edge"],
  casual: ["casual"],
  regular: ["regular", "regular at most"],
  power: ["power"],
  dormant: ["beyond the edge", "dormant"],
};

test("each person who was ever active is in one segment", async () => {
  for (const [name, people] of Object.entries(expected))
    expect([name, await peopleOf(database, `segment.${name}`)]).toEqual([name, people]);
});

test("the rules of a new installation are those of its thresholds", async () => {
  const difference = `
    select name from analytics.cohort join track.person_set using (name)
    join analytics.segment_setting on true
    cross join lateral (select * from analytics._segment_rules(segment_setting) as made where made.name = cohort.name) as made
    where (cohort.rule, person_set.description) is distinct from (made.rule, made.description) and cohort.name like 'segment.%'`;
  expect(await database.rows(difference.replace("select name", "select cohort.name"))).toEqual([]);
  expect(await database.value("select count(*)::int from analytics.cohort where name like 'segment.%'")).toBe(6);
});

test("sizes, with those of an earlier day", async () => {
  const rows = await database.rows<{ segment: string; people: number; former: number; change: number; share: number }>(
    `select segment, person_count::int as people, former_count::int as former, change::int, share
     from analytics.segments(28)`,
  );
  expect(rows.map(({ segment }) => segment)).toEqual(names);
  expect(Object.fromEntries(rows.map(({ segment, people }) => [segment, people]))).toEqual(
    Object.fromEntries(Object.entries(expected).map(([name, { length }]) => [name, length])),
  );
  // 28 days ago: casual (55 - 28 days before), regular (0), both others (12), and the edge of 28 (0) were new; those of
  // 56 and 60 days were dormant.
  expect(Object.fromEntries(rows.map(({ segment, former }) => [segment, former]))).toEqual({
    new: 5,
    returning: 0,
    casual: 0,
    regular: 0,
    power: 0,
    dormant: 3,
  });
  for (const { people, former, change, share } of rows) {
    expect(change).toBe(people - former);
    expect(share).toBeCloseTo(people / 11, 12);
  }
});

test("they are a filter and a breakdown", async () => {
  const rows = await database.rows(
    `select breakdown_value, sum(person_count)::int as people
     from analytics.trend('Task Submitted', 'day', now() - interval '5 days', now() - interval '4 days', breakdown => 'set.segment')
     where person_count > 0 group by 1 order by 1`,
  );
  expect(rows.length).toBeGreaterThan(2);
});

test("analysts see rounded numbers, and nothing of small segments", async () => {
  const rows = await database.as("insights_analyst", {}, (db) =>
    db.rows(
      "select segment, person_count::int as people, former_count::int as former, share from analytics.segments()",
    ),
  );
  expect(rows).toEqual(
    names.map((segment) => ({ segment, people: 0, former: segment === "new" ? 5 : 0, share: null })),
  );
  expect(await rolesThatMay(database, "select * from analytics.segments()")).toEqual(["analyst", "admin", "worker"]);
  expect(await database.rejects("select * from analytics.segments(0)")).toMatchObject({ code: "CF001" });
});
