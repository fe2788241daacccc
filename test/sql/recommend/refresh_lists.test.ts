import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { forPerson, ingest, refresh } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { courses, makeHistory, owned, people } from "./history.ts";

const database = await testDatabase();

const list = (name: string, kind = "course") =>
  database.rows<{ item: string; score: number }>(
    `select item.external_id as item, ranked_list.score
     from recommend.ranked_list join track.item using (item_id)
     where ranked_list.kind = $2 and ranked_list.list = $1
     order by ranked_list.score desc, ranked_list.item_id`,
    [name, kind],
  );

test("unknown people get the newest items when the view of popular items was refreshed while it was empty", async () => {
  await database.query("select analytics.refresh_views()");
  expect(await database.value("select recommend.refresh_lists()")).toBe("0");
  await ingest(database, [
    { person: "first", event: "Course Enrolled", item: "older", kind: "course" },
    { person: "first", event: "Course Enrolled", item: "newer", kind: "course" },
  ]);
  await database.query("update track.item set created_at = created_at - interval '1 day' where external_id = 'older'");
  const newest = await forPerson(database, "unknown");
  expect(newest.map(({ item, basis, score }) => [item, basis, score])).toEqual([
    ["newer", "newest", 0],
    ["older", "newest", 0],
  ]);
  // The view is still empty: the people are counted from the interactions.
  await refresh(database);
  expect((await forPerson(database, "unknown")).map(({ basis }) => basis)).toEqual(["popularity", "popularity"]);
});

test("the lists have the shares of the people, and follow their changes", async () => {
  await makeHistory(database);
  const counts = courses.map((item) => ({
    item,
    people: [...Array(people).keys()].filter((n) => owned(`p${n}`).has(item)).length,
  }));
  const most = Math.max(...counts.map(({ people }) => people));
  const popular = new Map((await list("popular")).map(({ item, score }) => [item, score]));
  for (const { item, people } of counts) expect(popular.get(item)).toBeCloseTo(people / most, 12);

  await database.query("update track.item set available_until = now() where external_id = $1", [courses[0]]);
  await database.query("select recommend.refresh_lists()");
  expect((await list("popular")).map(({ item }) => item)).not.toContain(courses[0]);
  await database.query("update track.item set available_until = null");
  await database.query("select track.exclude_person('p0', 'staff')");
  await refresh(database);
  const without = new Map((await list("popular")).map(({ item, score }) => [item, score]));
  const fewer = counts.map(({ item, people }) => ({ item, people: people - Number(owned("p0").has(item)) }));
  const mostWithout = Math.max(...fewer.map(({ people }) => people));
  for (const { item, people } of fewer) expect(without.get(item)).toBeCloseTo(people / mostWithout, 12);
  await database.query("select track.include_person('p0')");
  await refresh(database);
});

test("a segment has the items of at least five of its counted people", async () => {
  const rows = await database.rows<{ list: string; item: string; score: number }>(
    `select list, external_id as item, score from recommend.ranked_list join track.item using (item_id)
     where starts_with(list, 'segment.') order by 1, 2`,
  );
  expect(rows.length).toBeGreaterThan(0);
  const expected = await database.rows<{ list: string; item: string; score: number }>(
    `with taken as (
       select distinct segment.name as list, item.external_id as item, person.person_id
       from track.person_set as segment
       cross join track.person
       join track.event on event.person_id = person.person_id
       join track.item on item.item_id = event.item_id and item.kind = 'course'
       where starts_with(segment.name, 'segment.')
         and track.is_in_person_set(segment.name, person.person_id)
         and track.is_in_person_set('counted', person.person_id)
     ),
     counted as (select list, item, count(*) as people from taken group by 1, 2)
     select list, item, people / (max(people) over (partition by list))::float8 as score
     from counted where people >= 5 order by 1, 2`,
  );
  expect(rows).toEqual(expected.map((row) => ({ ...row, score: expect.closeTo(row.score, 12) })));
  expect(expected.some(({ score }) => score < 1)).toBe(true);
});

test("a second refresh writes nothing", async () => {
  const versions = () => database.rows("select ctid::text, xmin::text from recommend.ranked_list order by 1");
  const before = await versions();
  await database.query("select recommend.refresh_lists()");
  expect(await versions()).toEqual(before);
});

test("is for workers", async () => {
  expect(await rolesThatMay(database, "select recommend.refresh_lists()")).toEqual(["worker"]);
});
