import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { DAY, doings, iso, makeDoings, parents } from "./doings.ts";

const database = await testDatabase();
await makeDoings(database);

test("equals the rollup for each item and all below it", async () => {
  const count = await database.value("select analytics.refresh_views()");
  expect(await database.value("select analytics.refresh_views()")).toBe(count);
  const newest = Math.max(...doings.map(({ at }) => Math.floor(at / DAY)));
  const mine = doings.filter(({ item }) => item === "course-b" || parents[item] === "course-b");
  const published = 2; // by the catalogue, in 2020: page-b and page-c, and course-b itself
  const [row] = await database.rows<Record<string, unknown>>(
    "select event_count::int, person_count::int, last_day::text, decayed_event_count from analytics.item_popularity join track.item using (item_id) where external_id = 'course-b'",
  );
  expect(row).toEqual({
    event_count: mine.length + published + 1,
    person_count: new Set(mine.map(({ person }) => person)).size + 1,
    last_day: iso(Math.max(...mine.map(({ at }) => at))).slice(0, 10),
    decayed_event_count: expect.closeTo(
      mine.reduce((sum, { at }) => sum + 0.5 ** ((newest - Math.floor(at / DAY)) / 30), 0),
      6,
    ),
  });
});

test("has one row for each item that anything was done with, itself or below it", async () => {
  await database.query("select analytics.refresh_views()");
  const rows = await database.rows<{ item: string; event_count: number; person_count: number }>(
    "select external_id as item, event_count::int, person_count::int from analytics.item_popularity join track.item using (item_id) order by 1",
  );
  const of = (name: string) => {
    const mine = doings.filter(({ item }) => item === name || parents[item] === name);
    // The catalogue published each item once, and what is below it.
    const published = Object.entries(parents)
      .flat()
      .filter((item) => item === name).length;
    const itself = name.startsWith("course") ? 1 : 0;
    return {
      item: name,
      event_count: mine.length + published + itself,
      person_count: new Set(mine.map(({ person }) => person)).size + (published + itself > 0 ? 1 : 0),
    };
  };
  expect(rows).toEqual(["course-a", "course-b", "loner", "page-a", "page-b", "page-c"].map(of));
});

test("is read by nobody but the functions in front of it", async () => {
  expect(await rolesThatMay(database, "select * from analytics.item_popularity")).toEqual([]);
});
