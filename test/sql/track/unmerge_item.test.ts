import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "./messages.ts";

const database = await testDatabase();

const owner = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

/** Everything that is stored about items, with their names. */
async function stored(db: Queries): Promise<unknown> {
  await refresh(db);
  await db.query(
    "create or replace temporary view named as select identity_id as person_id, external_id as person from track.identity",
  );
  return {
    items: await db.rows(`
      select item.external_id as id, item.kind, item.title, item.url, item.language, item.attributes, item.due_at,
        parent.external_id as parent, target.external_id as target
      from track.item
      left join track.item as parent on parent.item_id = item.parent_item_id
      left join track.item as target on target.item_id = item.merged_item_id
      order by 1`),
    ancestors: await db.rows(`
      select item.external_id as id, ancestor.external_id as ancestor, depth
      from track.item_ancestor join track.item using (item_id)
      join track.item as ancestor on ancestor.item_id = ancestor_item_id order by 1, 3, 2`),
    prerequisites: await db.rows(`
      select item.external_id as id, required.external_id as required
      from track.prerequisite join track.item using (item_id)
      join track.item as required on required.item_id = required_item_id order by 1, 2`),
    enrolments: await db.rows(`
      select identity.external_id as person, item.external_id as item, enrolment.status, enrolment.enrolled_at
      from track.enrolment join track.identity using (identity_id) join track.item using (item_id) order by 1, 2`),
    events: await db.rows(`
      select item.external_id as item, person, count(*)::int, count(named_item_id)::int as named
      from track.event join track.item using (item_id) join named using (person_id) group by 1, 2 order by 1, 2`),
    views: await db.rows(`
      select item.external_id as item, person, page_view.started_at, engaged::text
      from track.page_view join track.item using (item_id) join named using (person_id) order by 1, 2, 3`),
    sessions: await db.rows(`
      select person, started_at, entry.external_id as entry, exit_.external_id as exit
      from track.session left join track.item as entry on entry.item_id = entry_item_id
      left join track.item as exit_ on exit_.item_id = exit_item_id join named using (person_id) order by 1, 2`),
    interactions: await db.rows(`
      select item.external_id as item, person, weight, event_count
      from recommend.interaction join track.item using (item_id) join named using (person_id) order by 1, 2`),
  };
}

async function makeWorld(db: Queries): Promise<void> {
  await db.query(`
    create temporary table app_item as
    select external_id, kind, title, parent, url, language, attributes::jsonb, due_at
    from (values
      ('course', 'course', 'Course', null, null, null, '{}', null),
      ('a', 'module', 'A', 'course', '/a', 'en', '{"x": 1, "y": 1}', timestamptz '2026-05-01Z'),
      ('a1', 'page', 'A1', 'a', null, null, '{}', null),
      ('b', 'module', null, null, null, 'it', '{"y": 2}', null),
      ('b1', 'page', 'B1', 'b', null, null, '{}', null),
      ('c', 'course', 'C', null, null, null, '{}', null)
    ) as app (external_id, kind, title, parent, url, language, attributes, due_at);
    select track.sync_items('app_item');
    create temporary table app_enrolment as
    select * from (values
      ('ada', 'a', timestamptz '2026-01-01Z', 'active'), ('ada', 'b', '2026-02-01Z', 'completed'),
      ('ada', 'c', '2026-03-01Z', 'active'), ('bob', 'a', '2026-01-05Z', 'active'), ('bob', 'c', '2026-01-04Z', 'dropped')
    ) as app (person, item, enrolled_at, status);
    select track.sync_enrolments('app_enrolment');
    insert into track.prerequisite (item_id, required_item_id)
    select item.item_id, required.item_id
    from (values ('a', 'c'), ('b', 'c'), ('c', 'a'), ('a', 'b')) as pair (item, required)
    join track.item on item.external_id = pair.item join track.item as required on required.external_id = pair.required`);
  await ingest(
    db,
    ["a", "b", "a", "a1", "b1", "c"].flatMap((item, n) =>
      ["ada", "bob"].map((userId) =>
        message({
          type: "page",
          event: undefined,
          userId,
          timestamp: `2026-03-0${1 + (n % 2)}T10:0${n}:00Z`,
          properties: { item },
        }),
      ),
    ),
  );
}

test("everything is as it was, whatever the order of merges and reversals", async () => {
  const [a, b, c, a1] = ["('a', 'b')", "('b', 'c')", "('c', 'a1')", "('a1', 'course')"];
  for (const [merges, undone] of [
    [[a], ["a"]],
    [
      [a, b],
      ["a", "b"],
    ],
    [
      [a, b],
      ["b", "a"],
    ],
    [
      [b, a, c],
      ["b", "c", "a"],
    ],
    [
      ["('course', 'a')", b],
      ["course", "b"],
    ],
    [
      ["('a', 'a1')", a1],
      ["a1", "a"],
    ],
    [
      ["('a1', 'a')", a, b],
      ["a", "a1", "b"],
    ],
  ] as const) {
    await owner(async (db) => {
      await makeWorld(db);
      const before = await stored(db);
      for (const merge of merges) {
        await db.query(`select track.merge_items${merge}`);
        await refresh(db);
      }
      expect(await stored(db)).not.toEqual(before);
      for (const name of undone) await db.query("select track.unmerge_item($1)", [name]);
      expect(await stored(db), `${merges} ${undone}`).toEqual(before);
      expect(await db.value("select count(*)::int from track.named_item")).toBe(0);
      expect(await db.value("select count(*)::int from track.named_prerequisite")).toBe(0);
    });
  }
});

test("what is said of the names in the meantime goes back with them", async () => {
  const say = async (db: Queries): Promise<void> => {
    await db.query(`
      update app_item set title = 'A, revised', parent = 'c' where external_id = 'a';
      update app_item set title = 'B', attributes = '{"z": 3}' where external_id = 'b';
      insert into app_item (external_id, kind, title, parent) values ('a2', 'page', 'A2', 'a');
      update app_item set parent = 'a' where external_id = 'b1';
      select track.sync_items('app_item');
      update app_enrolment set status = 'dropped' where person = 'bob' and item = 'a';
      insert into app_enrolment values ('bob', 'b', '2026-04-01Z', 'active'), ('eve', 'a', '2026-04-02Z', 'active');
      select track.sync_enrolments('app_enrolment')`);
    await ingest(db, [
      message({
        messageId: "s1",
        userId: "eve",
        timestamp: "2026-03-04T00:00:00Z",
        properties: { item: "a3", parent: "a", itemKind: "task" },
      }),
      message({
        messageId: "s2",
        userId: "eve",
        timestamp: "2026-02-04T00:00:00Z",
        properties: { item: "b", parent: "c" },
      }),
      message({ messageId: "s3", userId: "ada", timestamp: "2026-03-01T10:02:00Z", properties: { item: "a" } }),
    ]);
  };
  const results: unknown[] = [];
  for (const isMerged of [false, true]) {
    await owner(async (db) => {
      await makeWorld(db);
      if (isMerged) {
        await db.query("select track.merge_items('a', 'b'), track.merge_items('b', 'c')");
        await refresh(db);
      }
      await say(db);
      if (isMerged) {
        expect(await db.rows("select kind, title from track.item where external_id = 'c'")).toEqual([
          { kind: "course", title: "C" },
        ]);
        expect(
          await db.value(
            "select count(*)::int from track.item join track.item as parent on parent.item_id = item.parent_item_id where parent.external_id = 'c'",
          ),
        ).toBe(4);
        await refresh(db);
        await db.query("select track.unmerge_item('b'), track.unmerge_item('a')");
      }
      results.push(await stored(db));
    });
  }
  expect(results[1]).toEqual(results[0]);
});

test("errors name the items", async () => {
  await owner(async (db) => {
    await makeWorld(db);
    await db.query("select track.merge_items('a', 'b')");
    const cases: [string, string, string, string][] = [
      ["'b'", "CF001", 'item "b" is not merged', 'Give an item that was merged into it: "a".'],
      [
        "'c'",
        "CF001",
        'item "c" is not merged',
        "No item was merged into it either. The log of changed names is track.name_log.",
      ],
      [
        "'courses'",
        "CF002",
        'there is no item "courses"',
        'Did you mean "course"? Give the external id of an item, as in track.item.',
      ],
      ["null", "CF002", 'there is no item "null"', "Give the external id of an item, as in track.item."],
    ];
    for (const [name, code, text, hint] of cases) {
      expect(await db.rejects(`select track.unmerge_item(${name})`), name).toMatchObject({ code, message: text, hint });
    }
  });
});

test("is for admins", async () => {
  await database.query("select track.ingest($1::jsonb)", [
    JSON.stringify(["one", "two"].map((name) => message({ messageId: `role ${name}`, properties: { item: name } }))),
  ]);
  await database.query("select track.merge_items('one', 'two')");
  expect(await rolesThatMay(database, "select track.unmerge_item('one')")).toEqual(["admin"]);
});
