import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { refresh } from "./messages.ts";

const database = await testDatabase();

async function stated(db: Queries, source: string, items: unknown): Promise<unknown> {
  await db.query("select set_config('insights.source', $1, true)", [source]);
  const [result] = await db.rows("select inserted, updated, unchanged from track.import_items($1)", [
    JSON.stringify(items),
  ]);
  await db.query("select set_config('insights.source', '', true)");
  return result;
}

const described = (db: Queries) =>
  db.rows(
    `select item.external_id as item, item.kind, item.title, parent.external_id as parent
     from track.item
     left join track.item as parent on parent.item_id = item.parent_item_id
     order by item.external_id`,
  );

async function removed(db: Queries, source: string): Promise<void> {
  for (;;) {
    if ((await db.value("select completed_at is not null from track.forget_import($1, 5)", [source])) === true) return;
  }
}

const tree = [
  { item: "c", kind: "course", title: "Course" },
  { item: "c/1", kind: "module", title: "Chapter", parent: "c" },
  { item: "c/1/a", kind: "task", title: "Task", parent: "c/1", url: "https://a.example/a" },
];

test("a structure is stored with kinds, titles and parents, and once", async () => {
  await database.as("postgres", {}, async (db) => {
    expect(await stated(db, "edx", tree)).toEqual({ inserted: 3, updated: 0, unchanged: 0 });
    expect(await described(db)).toEqual([
      { item: "c", kind: "course", title: "Course", parent: null },
      { item: "c/1", kind: "module", title: "Chapter", parent: "c" },
      { item: "c/1/a", kind: "task", title: "Task", parent: "c/1" },
    ]);
    expect(await stated(db, "edx", tree)).toEqual({ inserted: 0, updated: 0, unchanged: 3 });
    // A later file with another title, and without the others.
    expect(await stated(db, "edx", [{ item: "c", title: "Renamed" }])).toMatchObject({ updated: 1 });
    expect((await described(db))[0]).toMatchObject({ kind: "course", title: "Renamed" });
    expect(await db.rows("select items, items_alone from track.source_contents('edx')")).toEqual([
      { items: "3", items_alone: "3" },
    ]);
  });
});

test("what is stated has precedence over messages, and the application over both", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select * from track.ingest($1)", [
      JSON.stringify([
        {
          type: "track",
          messageId: "1",
          userId: "ada",
          event: "Seen",
          timestamp: "2026-03-01T10:00:00Z",
          properties: { item: "c/1", itemKind: "page", itemTitle: "Of a message", parent: "elsewhere" },
        },
      ]),
    ]);
    await db.query("create table pg_temp.items as select 'c' as external_id, 'course' as kind, 'Of tables' as title");
    await db.query("select track.sync_items('pg_temp.items')");
    await stated(db, "edx", tree);
    expect(await described(db)).toMatchObject([
      { item: "c", title: "Of tables" },
      { item: "c/1", kind: "module", title: "Chapter", parent: "c" },
      { item: "c/1/a" },
      { item: "elsewhere" },
    ]);
    // After the removal, the attributes are those of the message, and keeps the item of the application.
    await refresh(db);
    await removed(db, "edx");
    expect(await described(db)).toEqual([
      { item: "c", kind: "course", title: "Of tables", parent: null },
      { item: "c/1", kind: "page", title: "Of a message", parent: "elsewhere" },
      { item: "elsewhere", kind: "unknown", title: null, parent: null },
    ]);
    expect(await db.rows("select from track.imported_item")).toHaveLength(0);
  });
});

test("of two imports the last one counts, and after its removal the other one", async () => {
  await database.as("postgres", {}, async (db) => {
    await stated(db, "one", [{ item: "x", kind: "course", title: "One", parent: "shelf" }]);
    await stated(db, "two", [{ item: "x", title: "Two" }]);
    expect((await described(db)).at(-1)).toEqual({ item: "x", kind: "course", title: "Two", parent: "shelf" });
    await removed(db, "two");
    expect((await described(db)).at(-1)).toEqual({ item: "x", kind: "course", title: "One", parent: "shelf" });
    await removed(db, "one");
    expect(await described(db)).toEqual([]);
  });
});

test("an item that only the application enrols in is a course, before and after the removal of an import", async () => {
  await database.as("postgres", {}, async (db) => {
    await stated(db, "edx", [{ item: "x", kind: "module" }, { item: "y" }]);
    await db.query(
      `create table pg_temp.enrolments as
       select 'ada' as person, item, now() as enrolled_at from unnest(array['x', 'y']) as item`,
    );
    await db.query("select track.sync_enrolments('pg_temp.enrolments')");
    expect(await described(db)).toMatchObject([
      { item: "x", kind: "module" },
      { item: "y", kind: "course" },
    ]);
    await removed(db, "edx");
    expect(await described(db)).toMatchObject([
      { item: "x", kind: "course" },
      { item: "y", kind: "course" },
    ]);
    expect(await db.rows("select from track.item_source")).toHaveLength(0);
  });
});

test("a removal ends also where the messages that are left tell a cycle", async () => {
  await database.as("postgres", {}, async (db) => {
    const tell = async (source: string, messageId: string, item: string, parent: string): Promise<void> => {
      await db.query("select set_config('insights.source', $1, true)", [source]);
      await db.query("select * from track.ingest($1)", [
        JSON.stringify([
          {
            type: "track",
            messageId,
            userId: source,
            event: "Seen",
            timestamp: "2026-03-01T10:00:00Z",
            receivedAt: `2026-03-01T10:00:0${messageId}Z`,
            properties: { item, parent },
          },
        ]),
      ]);
    };
    await tell("wrong", "1", "a", "c");
    // Ignored, because the item has a parent, and then possible.
    await tell("app", "2", "a", "b");
    await tell("app", "3", "b", "a");
    await removed(db, "wrong");
    expect(await described(db)).toMatchObject([
      { item: "a", parent: null },
      { item: "b", parent: "a" },
    ]);
  });
});

test("a parent that would form a cycle is refused, with the items", async () => {
  await database.as("postgres", {}, async (db) => {
    await stated(db, "edx", tree);
    await expect(stated(db, "edx", [{ item: "c", parent: "c/1/a" }])).rejects.toMatchObject({ code: "CF010" });
  });
});

test("invalid items are refused with their values", async () => {
  const long = "x".repeat(600);
  for (const [items, code] of [
    [[{ item: "" }], "CF001"],
    [[{ item: long }], "CF001"],
    [[{ item: "a", kind: "No Kind" }], "CF001"],
    [[{ item: "a", parent: "a" }], "CF001"],
    [[{ item: "a", parent: long }], "CF001"],
    [[{ item: "a", title: "x".repeat(1_001) }], "CF001"],
    [["a"], "CF001"],
    [{ item: "a" }, "CF009"],
    [null, "CF009"],
    [Array.from({ length: 10_001 }, (_, index) => ({ item: `${index}` })), "CF008"],
  ] as const) {
    await database.as("postgres", {}, async (db) => {
      const error = await stated(db, "edx", items).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code });
      expect(String(error).length).toBeLessThan(400);
    });
  }
  await database.as("postgres", {}, async (db) => {
    await expect(stated(db, "", tree)).rejects.toMatchObject({ code: "CF001" });
  });
});

test("only administrators, workers and keys of servers describe items", async () => {
  expect(
    await rolesThatMay(database, "select track.import_items('[]') from set_config('insights.source', 'edx', true)"),
  ).toEqual(["admin", "worker"]);
});
