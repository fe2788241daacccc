import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { forPerson, ingest, refresh } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { courses, makeHistory, popularity } from "./history.ts";

const database = await testDatabase();

const list = (name: string, kind = "course") =>
  database.rows<{ item: string; score: number }>(
    `select item.external_id as item, ranked_list.score
     from recommend.ranked_list join track.item using (item_id)
     where ranked_list.kind = $2 and ranked_list.list = $1
     order by ranked_list.score desc, ranked_list.item_id`,
    [name, kind],
  );

test("an item is popular from five counted people on; with fewer, it is one of the newest", async () => {
  await database.query("select analytics.refresh_views()");
  expect(await database.value("select recommend.refresh_lists()")).toBe("0");
  await database.as("postgres", {}, async (db) => {
    const use = (person: string, item = "few", day = 0) => ({
      person,
      event: "Course Enrolled",
      item,
      kind: "course",
      day,
    });
    await ingest(
      db,
      [1, 2, 3, 4].map((n) => use(`few ${n}`)),
    );
    await ingest(
      db,
      Array.from({ length: 20 }, () => use("few 1")),
    );
    await refresh(db);
    const bases = async () => (await forPerson(db, "unknown")).map(({ item, basis, score }) => [item, basis, score]);
    expect(await bases()).toEqual([["few", "newest", 0]]);
    await ingest(db, [use("few 5")]);
    await db.query("select track.exclude_person('few 5', 'staff')");
    await refresh(db);
    expect(await bases()).toEqual([["few", "newest", 0]]);
    await db.query("select track.include_person('few 5')");
    await refresh(db);
    expect(await bases()).toEqual([["few", "popularity", 1]]);
  });
});

test("many events of one person count as one person, at their latest time", async () => {
  await database.as("postgres", {}, async (db) => {
    const use = (person: string, item: string, day: number) => ({
      person,
      event: "Course Enrolled",
      item,
      kind: "course",
      day,
    });
    const all = [1, 2, 3, 4, 5].map((n) => `person ${n}`);
    await ingest(
      db,
      all.flatMap((person) => [use(person, "old", 0), use(person, "new", 150)]),
    );
    await refresh(db);
    const score = () =>
      db.value(
        "select score from recommend.ranked_list join track.item using (item_id) where list = 'popular' and external_id = 'old'",
      );
    expect(await score()).toBe(0.031);
    await ingest(
      db,
      Array.from({ length: 300 }, () => use("person 1", "old", 150)),
    );
    await refresh(db);
    // (1 + 4 / 32) / 5
    expect(await score()).toBe(0.23);
  });
});

test("the lists have the shares of the people, and follow their changes", async () => {
  await makeHistory(database);
  const popular = new Map((await list("popular")).map(({ item, score }) => [item, score]));
  expect(popular).toEqual(popularity());

  await database.query("update track.item set available_until = now() where external_id = $1", [courses[0]]);
  await database.query("select recommend.refresh_lists()");
  expect((await list("popular")).map(({ item }) => item)).not.toContain(courses[0]);
  await database.query("update track.item set available_until = null");
  await database.query("select track.exclude_person('p0', 'staff')");
  await refresh(database);
  const without = new Map((await list("popular")).map(({ item, score }) => [item, score]));
  expect(without).toEqual(popularity("p0"));
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
  expect(rows).toEqual(expected.map((row) => ({ ...row, score: Number(row.score.toPrecision(2)) })));
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
