import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeLearners } from "./learners.ts";

const database = await testDatabase();
await makeLearners(database);

test("bring in quoted tables and views, write changes only, and keep what is null", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`create schema "my app"`);
    await db.query(
      `create table "my app"."Cours""es" ("external_id" text, kind text, title text, parent text, attributes jsonb, due_at timestamptz, "Extra" int)`,
    );
    const sync = () => db.rows(`select * from track.sync_items('"my app"."Cours""es"')`);
    expect(await sync()).toEqual([{ inserted: 0, updated: 0, unchanged: 0 }]);
    await db.query(
      `insert into "my app"."Cours""es" values ('p', 'page', 'P', 'm', '{"a": null, "b": [1]}', 'infinity', 1), ('m', 'module', null, 'c', null, null, 2), ('page-1', 'page', 'New', null, null, null, 3)`,
    );
    expect(await sync()).toEqual([{ inserted: 2, updated: 1, unchanged: 0 }]);
    expect(await sync()).toEqual([{ inserted: 0, updated: 0, unchanged: 3 }]);
    await db.query(`update "my app"."Cours""es" set title = case when external_id = 'm' then 'M' end`);
    expect(await sync()).toEqual([{ inserted: 0, updated: 1, unchanged: 2 }]);
    expect(
      await db.rows(
        "select item.external_id, item.title, item.attributes, parent.external_id as parent, item.due_at::text from track.item left join track.item as parent on parent.item_id = item.parent_item_id where item.external_id in ('p', 'm', 'c', 'page-1') order by 1",
      ),
    ).toEqual([
      { external_id: "c", title: null, attributes: {}, parent: null, due_at: null },
      { external_id: "m", title: "M", attributes: {}, parent: "c", due_at: null },
      { external_id: "p", title: "P", attributes: { a: null, b: [1] }, parent: "m", due_at: "infinity" },
      { external_id: "page-1", title: "New", attributes: {}, parent: null, due_at: null },
    ]);
    // Every ancestor is known, at its distance.
    expect(
      await db.value(
        "select string_agg(external_id, ' < ' order by depth) from track.item_ancestor join track.item on item.item_id = ancestor_item_id where item_ancestor.item_id = (select item_id from track.item where external_id = 'p')",
      ),
    ).toBe("p < m < c");
  });
});

test.each([
  ["select 'a' as external_id", "CF002", 'no column "kind"'],
  ["select 'a' as external_id, 'Course' as kind", "CF001", 'of kind "Course"'],
  ["select '' as external_id, 'course' as kind", "CF001", 'item ""'],
  ["select null::text as external_id, 'course' as kind", "CF001", "is invalid"],
  ["select 'a' as external_id, 'course' as kind, 'a' as parent", "CF001", 'with parent "a"'],
  ["select 'a' as external_id, 'course' as kind, '[1]'::jsonb as attributes", "CF001", "is invalid"],
  ["select 'a' as external_id, 'course' as kind, 'soon' as due_at", "CF001", '"soon"'],
  ["select 'a' as external_id, 'course' as kind from generate_series(1, 2)", "CF001", "more than once"],
  [
    "select i::text as external_id, 'module' as kind, (i % 3 + 1)::text as parent from generate_series(1, 3) as i",
    "CF010",
    "parts of each other",
  ],
])("sync_items of (%s) is %s and changes nothing", async (query, code, text) => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`create view public.source as ${query}`);
    const before = await db.value("select count(*) from track.item");
    const error = await db.rejects("select track.sync_items('public.source')");
    expect(error).toMatchObject({ code });
    expect(error.message).toContain(text);
    expect(await db.value("select count(*) from track.item")).toBe(before);
  });
});

test("read with the caller's rights, and refuse an invalid relation", async () => {
  await database.as("insights_admin", {}, async (db) => {
    expect(await db.rejects("select track.sync_enrolments('public.enrolment_source')")).toMatchObject({
      code: "42501",
    });
    expect(await db.rejects("select track.sync_items('pg_catalog.pg_authid')")).toMatchObject({ code: "CF002" });
    expect(await db.rejects("select track.sync_items('nowhere')")).toMatchObject({ code: "42P01" });
    expect(await db.rejects("select track.sync_items('track.item; drop table track.item')")).toMatchObject({
      code: expect.stringMatching(/^42/),
    });
  });
  await database.as("insights_learner", { "insights.person": "ada" }, async (db) =>
    expect(await db.rejects("select track.sync_items('track.item')")).toMatchObject({ code: "42501" }),
  );
});

test("an item that moves takes what is below it along", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(
      "create table public.source as select * from (values ('c1', 'course', null), ('c2', 'course', null), ('m', 'module', 'c1'), ('p', 'page', 'm')) as item (external_id, kind, parent)",
    );
    const ancestors = () =>
      db.value(
        "select string_agg(ancestor.external_id, ' < ' order by depth) from track.item_ancestor join track.item using (item_id) join track.item as ancestor on ancestor.item_id = ancestor_item_id where item.external_id = 'p'",
      );
    await db.query("select track.sync_items('public.source')");
    expect(await ancestors()).toBe("p < m < c1");
    await db.query("update public.source set parent = 'c2' where external_id = 'm'");
    expect(await db.rows("select * from track.sync_items('public.source')")).toEqual([
      { inserted: 0, updated: 1, unchanged: 3 },
    ]);
    expect(await ancestors()).toBe("p < m < c2");
  });
});

test("is for admins and workers", async () => {
  await database.query("create table public.readable (external_id text, kind text)");
  await database.query("grant select on public.readable to public");
  expect(await rolesThatMay(database, "select track.sync_items('public.readable')")).toEqual(["admin", "worker"]);
});
