import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "./messages.ts";

const database = await testDatabase();

const owner = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

test("both ids mean one item, with what was stated of it; the parts follow", async () => {
  await owner(async (db) => {
    const send = (...items: string[]) =>
      ingest(
        db,
        items.map((item) => message({ properties: { item } })),
      );
    await db.query(`
      create temporary table app_item as
      select * from (values ('sql-1', 'course', 'SQL', null), ('page', 'page', 'Page', 'sql-1')) as app (external_id, kind, title, parent);
      select track.sync_items('app_item')`);
    await send("sql-1", "page");
    expect(await db.value("select track.rename_item('sql-1', 'sql')")).toBe("1");
    await send("sql-1", "sql");
    // The table of the application names the new id from now on, and so may a view of it the old one.
    await db.query("update app_item set external_id = 'sql', title = 'SQL for all' where external_id = 'sql-1'");
    await db.query("select track.sync_items('app_item')");
    await refresh(db);
    const items = () =>
      db.rows(`
        select item.external_id as id, item.kind, item.title, parent.external_id as parent,
          (select count(*)::int from track.event where event.item_id = item.item_id) as events
        from track.item left join track.item as parent on parent.item_id = item.parent_item_id order by 1`);
    expect(await items()).toEqual([
      { id: "page", kind: "page", title: "Page", parent: "sql", events: 1 },
      { id: "sql", kind: "course", title: "SQL for all", parent: null, events: 3 },
      { id: "sql-1", kind: "merged", title: "SQL", parent: null, events: 0 },
    ]);
    expect(await db.value("select track.rename_item('sql-1', 'sql')")).toBe("0");
    await db.query("select track.unmerge_item('sql-1')");
    expect(await items()).toEqual([
      { id: "page", kind: "page", title: "Page", parent: "sql-1", events: 1 },
      { id: "sql", kind: "course", title: "SQL for all", parent: null, events: 1 },
      { id: "sql-1", kind: "course", title: "SQL", parent: null, events: 2 },
    ]);
    expect(await db.rows("select action, name, target from track.name_log order by logged_at")).toEqual([
      { action: "item renamed", name: "sql-1", target: "sql" },
      { action: "item unmerged", name: "sql-1", target: "sql" },
    ]);
  });
});

test("a parent that a merged name gave follows its new id", async () => {
  await owner(async (db) => {
    await db.query(`
      create temporary table app_item as
      select * from (values ('course', 'course', null), ('page', 'page', 'course'), ('target', 'page', null)) as app (external_id, kind, parent);
      select track.sync_items('app_item')`);
    await db.query("select track.merge_items('page', 'target'), track.rename_item('course', 'new course')");
    const parent = () =>
      db.value(
        "select parent.external_id from track.item join track.item as parent on parent.item_id = item.parent_item_id where item.external_id = 'target'",
      );
    expect(await parent()).toBe("new course");
    await db.query("select track.unmerge_item('course')");
    expect(await parent()).toBe("course");
    await db.query("select track.unmerge_item('page')");
    expect(await parent()).toBeUndefined();
  });
});

test("errors name the items", async () => {
  await owner(async (db) => {
    await ingest(
      db,
      ["aa", "b", "c"].map((item) => message({ properties: { item } })),
    );
    await db.query("select track.merge_items('aa', 'b')");
    const cases: [string, string, string, string][] = [
      ["'c', 'b'", "CF001", 'there is an item "b"', "Merge the two: track.merge_items."],
      ["'c', 'c'", "CF001", 'there is an item "c"', "Merge the two: track.merge_items."],
      [
        "'b', 'aa'",
        "CF001",
        'there is an item "aa"',
        "It was merged into this one: to undo that, use track.unmerge_item.",
      ],
      ["'c', ''", "CF001", "new_id is empty", "Give the new external id of the item."],
      ["'c', null", "CF001", "new_id is null", "Give the new external id of the item."],
      ["'c', repeat('x', 513)", "CF008", "new_id has 513 characters", "The external id of an item has 512 at most."],
      [
        "'aa', 'x'",
        "CF001",
        'item "aa" was merged into another one',
        'Merge that one: "b". Or undo the merge first, by track.unmerge_item.',
      ],
      [
        "'aaa', 'x'",
        "CF002",
        'there is no item "aaa"',
        'Did you mean "aa"? Give the external id of an item, as in track.item.',
      ],
      ["null, 'x'", "CF002", 'there is no item "null"', "Give the external id of an item, as in track.item."],
      ["'c', 'x', -1", "CF001", "most_events is -1", "Give a number from 0 to 2147483647."],
    ];
    for (const [names, code, text, hint] of cases) {
      expect(await db.rejects(`select track.rename_item(${names})`), names).toMatchObject({
        code,
        message: text,
        hint,
      });
    }
  });
});

test("is for admins", async () => {
  await database.query("select track.ingest($1::jsonb)", [JSON.stringify([message({ properties: { item: "one" } })])]);
  expect(await rolesThatMay(database, "select track.rename_item('one', 'two')")).toEqual(["admin"]);
});
