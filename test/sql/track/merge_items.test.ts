import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "./messages.ts";

const database = await testDatabase();

const owner = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const item = (db: Queries, name: string) =>
  db.rows(
    `select item.kind, item.title, parent.external_id as parent, target.external_id as target
     from track.item
     left join track.item as parent on parent.item_id = item.parent_item_id
     left join track.item as target on target.item_id = item.merged_item_id
     where item.external_id = $1`,
    [name],
  );

test("moves events, and later messages with the old name follow", async () => {
  await owner(async (db) => {
    const at = (minute: number) => `2026-03-01T10:${String(minute).padStart(2, "0")}:00Z`;
    await ingest(db, [
      message({ messageId: "m1", timestamp: at(0), properties: { item: "old" } }),
      message({ messageId: "m2", timestamp: "2026-04-01T00:00:00Z", userId: "bob", properties: { item: "old" } }),
      message({ messageId: "m3", timestamp: at(2), properties: { item: "new" } }),
    ]);
    await refresh(db);
    expect(await db.value("select track.merge_items('old', 'new')")).toBe("2");
    // Repeated, it changes nothing.
    expect(await db.value("select track.merge_items('old', 'new')")).toBe("0");
    expect(await item(db, "old")).toEqual([{ kind: "merged", title: null, parent: null, target: "new" }]);
    await ingest(db, [
      message({ messageId: "m4", timestamp: at(4), properties: { item: "old", itemTitle: "Old", itemKind: "page" } }),
      message({ messageId: "m5", timestamp: at(5), properties: { item: "part", parent: "old" } }),
      message({ messageId: "m6", timestamp: at(6), properties: { item: "new", parent: "old" } }),
    ]);
    await refresh(db);
    expect(
      await db.rows(
        "select external_id, count(*)::int from track.event join track.item using (item_id) group by 1 order by 1",
      ),
    ).toEqual([
      { external_id: "new", count: 5 },
      { external_id: "part", count: 1 },
    ]);
    // The title is kept for the name, and shown by the item, which has none.
    expect(await item(db, "old")).toEqual([{ kind: "merged", title: "Old", parent: null, target: "new" }]);
    expect(await item(db, "new")).toMatchObject([{ kind: "page", title: "Old" }]);
    expect(await item(db, "part")).toMatchObject([{ parent: "new" }]);
    expect(await item(db, "new")).toMatchObject([{ parent: null }]);
    expect(
      await db.rows(
        "select external_id, sum(event_count)::int from track.activity_of(null, '-infinity', 'infinity') as activity join track.item using (item_id) group by 1 order by 1",
      ),
    ).toEqual([
      { external_id: "new", sum: 5 },
      { external_id: "part", sum: 1 },
    ]);
  });
});

test("moves parts, prerequisites and enrolments; the target keeps what it has", async () => {
  await owner(async (db) => {
    await db.query(`
      create temporary table app_item as
      select * from (values
        ('course', 'course', 'Course', null), ('a', 'module', 'A', 'course'), ('a1', 'page', 'A1', 'a'),
        ('b', 'module', null, null), ('c', 'page', 'C', null)) as app (external_id, kind, title, parent);
      select track.sync_items('app_item');
      create temporary table app_enrolment as
      select * from (values
        ('ada', 'a', timestamptz '2026-01-01Z', 'active'), ('ada', 'b', '2026-02-01Z', 'completed'), ('bob', 'a', '2026-01-05Z', 'active')
      ) as app (person, item, enrolled_at, status);
      select track.sync_enrolments('app_enrolment');
      insert into track.prerequisite (item_id, required_item_id)
      select item.item_id, required.item_id
      from (values ('a', 'c'), ('b', 'c'), ('c', 'a'), ('a', 'b')) as pair (item, required)
      join track.item on item.external_id = pair.item join track.item as required on required.external_id = pair.required`);
    await refresh(db);
    await db.query("update track.consumer set inputs = inputs || '{enrolment}'");
    expect(await db.value("select track.merge_items('a', 'b')")).toBe("0");
    expect(await item(db, "a1")).toMatchObject([{ parent: "b" }]);
    expect(await item(db, "b")).toEqual([{ kind: "module", title: "A", parent: "course", target: null }]);
    expect(
      await db.rows(`
        select identity.external_id as person, item.external_id as item, enrolment.status
        from track.enrolment join track.identity using (identity_id) join track.item using (item_id)
        where item.merged_item_id is null order by 1`),
    ).toEqual([
      { person: "ada", item: "b", status: "completed" },
      { person: "bob", item: "b", status: "active" },
    ]);
    expect(
      await db.rows(`
        select item.external_id as item, required.external_id as required
        from track.prerequisite join track.item using (item_id)
        join track.item as required on required.item_id = required_item_id order by 1`),
    ).toEqual([
      { item: "b", required: "c" },
      { item: "c", required: "b" },
    ]);
    expect(
      await db.value("select count(*)::int from track.changed where person_id = track.find_person('bob')"),
    ).toBeGreaterThan(0);
    expect(
      await db.rows(`
        select item.external_id as item, ancestor.external_id as ancestor, depth
        from track.item_ancestor join track.item using (item_id)
        join track.item as ancestor on ancestor.item_id = ancestor_item_id where item.external_id in ('a', 'a1') order by 1, 3`),
    ).toEqual([
      { item: "a", ancestor: "a", depth: 0 },
      { item: "a1", ancestor: "a1", depth: 0 },
      { item: "a1", ancestor: "b", depth: 1 },
      { item: "a1", ancestor: "course", depth: 2 },
    ]);
    // The tables of the application may name the old item still.
    await db.query("select track.sync_items('app_item')");
    await db.query("select track.sync_enrolments('app_enrolment')");
    expect(await item(db, "a")).toMatchObject([{ kind: "merged", target: "b" }]);
    expect(await item(db, "a1")).toMatchObject([{ parent: "b" }]);
    expect(
      await db.value(
        "select count(*)::int from track.enrolment join track.item using (item_id) where merged_item_id is null",
      ),
    ).toBe(2);
  });
});

test("an item can be merged into a part of its part, and into its container", async () => {
  for (const [merged, target, left] of [
    ["top", "leaf", ["leaf >", "middle > leaf"]],
    ["leaf", "top", ["middle > top", "top >"]],
    ["middle", "leaf", ["leaf > top", "top >"]],
  ] as const) {
    await owner(async (db) => {
      await db.query(`
        create temporary table app_item as
        select * from (values ('top', 'module', null), ('middle', 'module', 'top'), ('leaf', 'page', 'middle')) as app (external_id, kind, parent);
        select track.sync_items('app_item')`);
      await db.query("select track.merge_items($1, $2)", [merged, target]);
      expect(
        await db.value(`
          select array_agg(rtrim(item.external_id || ' > ' || coalesce(parent.external_id, '')) order by item.external_id)
          from track.item left join track.item as parent on parent.item_id = item.parent_item_id
          where item.merged_item_id is null`),
      ).toEqual(left);
    });
  }
});

test("the names of an item that is merged again follow it", async () => {
  await owner(async (db) => {
    await ingest(
      db,
      ["a", "b", "c"].map((name) => message({ properties: { item: name } })),
    );
    await db.query("select track.merge_items('a', 'b')");
    expect(await db.value("select track.merge_items('b', 'c')")).toBe("2");
    expect(await item(db, "a")).toMatchObject([{ target: "c" }]);
    await ingest(db, [message({ properties: { item: "a" } })]);
    expect(await db.value("select count(distinct item_id)::int from track.event")).toBe(1);
  });
});

test("errors name the items", async () => {
  await owner(async (db) => {
    await ingest(
      db,
      ["a", "b", "c"].map((name) => message({ properties: { item: name } })),
    );
    await db.query("select track.merge_items('a', 'b')");
    const cases: [string, string, string][] = [
      ["'x', 'b'", "CF002", 'there is no item "x"'],
      ["'b', 'x'", "CF002", 'there is no item "x"'],
      ["null, 'b'", "CF002", 'there is no item "null"'],
      ["'b', 'b'", "CF001", '"b" and "b" are the same item'],
      ["'b', 'a'", "CF001", '"b" and "a" are the same item'],
      ["'a', 'c'", "CF001", 'item "a" was merged into another one'],
    ];
    for (const [names, code, text] of cases) {
      expect(await db.rejects(`select track.merge_items(${names})`), names).toMatchObject({ code, message: text });
    }
    expect((await db.rejects("select track.merge_items('a', 'c')")).hint).toBe(
      'Merge that one: "b". Or undo the merge first, by track.unmerge_item.',
    );
  });
});

test.skipIf(!database.native)(
  "a batch with a snapshot from before the merge fails (needs parallel sessions)",
  async () => {
    await ingest(
      database,
      ["past-old", "past-new"].map((name) => message({ messageId: name, properties: { item: name } })),
    );
    const writer = await database.pool.connect();
    try {
      await writer.query("begin isolation level repeatable read");
      await writer.query("select count(*) from track.item");
      await database.query("select track.merge_items('past-old', 'past-new')");
      const batch = JSON.stringify([message({ messageId: "past", properties: { item: "past-old" } })]);
      await expect(writer.query("select track.ingest($1::jsonb)", [batch])).rejects.toMatchObject({ code: "40001" });
    } finally {
      await writer.query("rollback");
      writer.release();
    }
  },
);

test.skipIf(!database.native)("a batch that is in progress is moved too (needs parallel sessions)", async () => {
  const send = (names: string[]) =>
    JSON.stringify(names.map((name, n) => message({ messageId: `race-${name}-${n}`, properties: { item: name } })));
  await database.query("select track.ingest($1::jsonb)", [send(["race-old", "race-new"])]);
  const writer = await database.pool.connect();
  await writer.query("begin");
  await writer.query("select track.ingest($1::jsonb)", [send(["x", "y", "race-old"])]);
  const merge = database.value("select track.merge_items('race-old', 'race-new')");
  for (;;) {
    const waiting = await database.value<number>("select count(*)::int from pg_locks where not granted");
    if (waiting > 0) break;
  }
  // This one waits for the merge.
  const later = database.query("select track.ingest($1::jsonb)", [send(["x", "y", "z", "race-old"])]);
  await writer.query("commit");
  writer.release();
  expect(await merge).toBe("2");
  await later;
  expect(
    await database.value(
      "select count(*)::int from track.event join track.item using (item_id) where external_id = 'race-new'",
    ),
  ).toBe(4);
});

test("is for admins", async () => {
  await database.query("select track.ingest($1::jsonb)", [
    JSON.stringify(["one", "two"].map((name) => message({ properties: { item: name } }))),
  ]);
  expect(await rolesThatMay(database, "select track.merge_items('one', 'two')")).toEqual(["admin"]);
});

test("a course is found by its former name", async () => {
  await owner(async (db) => {
    await ingest(
      db,
      ["old course", "new course"].map((name) =>
        message({ messageId: name, properties: { item: name, itemKind: "course" } }),
      ),
    );
    await db.query("select track.merge_items('old course', 'new course')");
    expect(await db.value("select analytics._course_id('old course') = analytics._course_id('new course')")).toBe(true);
  });
});
