import { expect, test } from "vitest";
import { Random } from "../../../src/simulator/random.ts";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, type Message, message, refresh } from "./messages.ts";

const database = await testDatabase();

const owner = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const page = (path: string, fields = {}): Message =>
  message({ type: "page", event: undefined, context: { page: { path } }, ...fields });

const names = (db: Queries): Promise<string[]> =>
  db.value(
    `select coalesce(array_agg(external_id order by external_id collate "C"), '{}') from track.item where merged_item_id is null`,
  );

/** Everything that is derived from events, with the names of items instead of their keys. */
async function derived(db: Queries): Promise<unknown[]> {
  await refresh(db);
  const columns = {
    "track.event": "person_id, event_id",
    "track.session": "person_id, session_id",
    "track.page_view": "person_id, event_id",
    "track.activity_of(null, '-infinity', 'infinity')": "person_id, day, event_type_id",
    "recommend.interaction": "person_id",
  };
  const found: unknown[] = [];
  for (const [table, order] of Object.entries(columns)) {
    const item = table === "track.session" ? "entry_item_id" : "item_id";
    const exit =
      table === "track.session" ? "(select external_id from track.item where item.item_id = given.exit_item_id)" : "''";
    found.push(
      await db.rows(`
        select item.external_id, ${exit} as exit,
          to_jsonb(given) - '{item_id,named_item_id,entry_item_id,exit_item_id,view_item_ids,person_id,identity_id,received_at}'::text[] as row
        from ${table} as given left join track.item on item.item_id = given.${item}
        order by ${order}, external_id collate "C"`),
    );
  }
  return found;
}

test("includes names that consist of a query or a fragment", async () => {
  await owner(async (db) => {
    await db.query("update track.setting set path_rule = '{}'");
    await ingest(db, [page("?id=7", { messageId: "q" }), page("#/spa/", { messageId: "f" })]);
    await db.query("update track.setting set path_rule = default");
    expect(await db.value("select track.apply_path_rule()")).toBe(2);
    expect(await names(db)).toEqual(["/#/spa/", "/?id=7"]);
    await ingest(db, [page("/?id=7", { messageId: "later" })]);
    expect(await names(db)).toHaveLength(2);
  });
});

test("gives what a rule that was always there would have given", async () => {
  const random = new Random("paths");
  const spellings = [
    "/courses/7",
    "/courses/7/",
    "/courses/7?x=1",
    "/courses/7/index.html",
    "/",
    "//",
    "/a/../b/",
    "/b",
    "https://h/b#c",
    "/d//e",
  ];
  const batch: Message[] = [];
  for (let n = 0; n < 240; n++) {
    const path = spellings[Math.floor(random.uniform() * spellings.length)] ?? "/";
    const at = Date.parse("2026-02-20T00:00:00Z") + Math.floor(random.uniform() * 20) * 86_400_000 + n * 240_000;
    const fields = { messageId: `p${n}`, userId: `u${n % 7}`, timestamp: new Date(at) };
    batch.push(n % 5 === 4 ? message({ ...fields, event: "Heartbeat" }) : page(path, fields));
  }
  const expected = await owner(async (db) => {
    await ingest(db, batch);
    return await derived(db);
  });
  const found = await owner(async (db) => {
    await db.query("update track.setting set path_rule = '{}'");
    await ingest(db, batch);
    await refresh(db);
    expect(await names(db)).toHaveLength(spellings.length);
    await db.query("update track.setting set path_rule = default");
    let items = 0;
    for (;;) {
      const done = await db.value<number>("select track.apply_path_rule(3)");
      if (done === 0) break;
      expect(done).toBeLessThanOrEqual(3);
      items += done;
    }
    expect(items).toBe(7);
    expect(await names(db)).toEqual(["/", "/b", "/courses/7", "/d/e"]);
    return await derived(db);
  });
  expect(found).toEqual(expected);
});

test("a page that is the first of its name is renamed", async () => {
  await owner(async (db) => {
    await db.query("update track.setting set path_rule = '{}'");
    await ingest(db, [page("/a/"), page("/a//")]);
    const before = await db.value("select min(item_id) from track.item");
    await db.query("update track.setting set path_rule = default");
    expect(await db.value("select track.apply_path_rule()")).toBe(2);
    expect(await names(db)).toEqual(["/a"]);
    expect(await db.value("select item_id from track.item where external_id = '/a'")).toBe(before);
    expect(await db.value("select count(distinct item_id)::int from track.event")).toBe(1);
    expect(await db.value("select track.apply_path_rule()")).toBe(0);
  });
});

test("items that messages name, described items and screens are not changed", async () => {
  await owner(async (db) => {
    await db.query("update track.setting set path_rule = '{}'");
    await ingest(db, [
      page("/named/"),
      message({ properties: { item: "/named/" } }),
      message({ properties: { item: "/described/", itemKind: "course" } }),
      message({ type: "screen", event: undefined, name: "Home//" }),
      page("/page/"),
    ]);
    await db.query("update track.setting set path_rule = default");
    expect(await db.value("select track.apply_path_rule()")).toBe(1);
    expect(await names(db)).toEqual(["/described/", "/named/", "/page", "Home//"]);
  });
});

test("follows the rules of the sources, and changes nothing on which they disagree", async () => {
  await owner(async (db) => {
    await db.query("update track.setting set path_rule = '{}'");
    const from = async (source: string, ...paths: string[]) => {
      await db.query("select set_config('insights.source', $1, true)", [source]);
      await ingest(
        db,
        paths.map((path) => page(path)),
      );
    };
    await from("one", "/both/", "/one/");
    await from("two", "/both/", "/two/");
    await db.query("update track.setting set path_rule = default");
    await db.query("update track.source set path_rule = '{}' where name = 'two'");
    expect(await db.value("select track.apply_path_rule()")).toBe(1);
    expect(await names(db)).toEqual(["/both/", "/one", "/two/"]);
  });
});

test("a database of the former default is brought to the new one", async () => {
  await owner(async (db) => {
    await db.query("update track.setting set path_rule = '{}'");
    await ingest(db, [page("/course/view.php?id=7&x=1"), page("/course/view.php?id=8"), page("/course/view.php?id=7")]);
    await db.query("update track.setting set path_rule = default");
    expect(await db.value("select track.apply_path_rule()")).toBe(1);
    expect(await names(db)).toEqual(["/course/view.php?id=7", "/course/view.php?id=8"]);
  });
});

test.each(["0", "100001", "null"])("apply_path_rule(%s) is refused", async (value) => {
  expect(await database.rejects(`select track.apply_path_rule(${value})`)).toMatchObject({ code: "CF001" });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select track.apply_path_rule()")).toEqual(["admin"]);
});
