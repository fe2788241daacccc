import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

const stored = (db: Queries) =>
  db.rows(
    `select identity.external_id as person, item.external_id as item, role, started_at, ended_at,
       item_role.person_id = identity.person_id as "is own"
     from track.item_role join track.identity using (identity_id) join track.item using (item_id) order by 1, 2, 3, 4`,
  );
const sync = (db: Queries) => db.rows("select * from track.sync_item_roles('public.staff')");
const makeStaff =
  "create table public.staff (person text, item text, role text, started_at timestamptz, ended_at timestamptz)";

test.each([
  ["select 'a' as person, 'c' as item", "CF002", 'has no column "role"'],
  ["select 'a' as person, 'c' as item, 'teacher' as role", "CF001", 'the role "teacher" of "a" in "c" is invalid'],
  ["select 'a' as person, 'c' as item, null as role", "CF001", 'the role "null" of "a" in "c" is invalid'],
  ["select '' as person, 'c' as item, 'author' as role", "CF001", "is invalid"],
  ["select 'undefined' as person, 'c' as item, 'author' as role", "CF001", '"undefined", which names nobody'],
  ["select 'a' as person, repeat('c', 600) as item, 'author' as role", "CF001", "is invalid"],
  ["select 'a' as person, 'c' as item, 'author' as role, 'soon' as started_at", "CF001", "a value of a role"],
])("of (%s) is refused with %s", async (query, code, text) => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`create view public.staff as ${query}`);
    const error = await db.rejects("select track.sync_item_roles('public.staff')");
    expect(error).toMatchObject({ code, message: expect.stringContaining(text), hint: expect.stringMatching(/./) });
    expect(error.message.length).toBeLessThan(300);
    expect(await stored(db)).toEqual([]);
  });
});

test("stores the complete list, one row per period: what it does not contain ends, and comes back with it", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [message({ userId: "tess", properties: { item: "c", itemKind: "course" } })]);
    await db.query(`${makeStaff}; insert into public.staff values
      ('tess', 'c', 'instructor', '2026-01-01Z', null), ('tess', 'c', 'instructor', '2025-01-01Z', '2025-02-01Z'),
      ('tess', 'c', 'author', null, null), ('new', 'page', 'assistant', null, '2021-01-01Z')`);
    expect(await sync(db)).toEqual([{ inserted: 4, updated: 0, unchanged: 0 }]);
    expect(await sync(db)).toEqual([{ inserted: 0, updated: 0, unchanged: 4 }]);
    const row = { person: "tess", item: "c", started_at: -Infinity, ended_at: Infinity, "is own": true };
    const former = {
      ...row,
      role: "instructor",
      started_at: new Date("2025-01-01Z"),
      ended_at: new Date("2025-02-01Z"),
    };
    const assistant = { ...row, person: "new", item: "page", role: "assistant", ended_at: new Date("2021-01-01Z") };
    const instructor = { ...row, role: "instructor", started_at: new Date("2026-01-01Z") };
    expect(await stored(db)).toEqual([assistant, { ...row, role: "author" }, former, instructor]);
    expect(await db.value("select kind from track.item where external_id = 'page'")).toBe("unknown");

    await db.query("delete from public.staff");
    expect(await sync(db)).toEqual([{ inserted: 0, updated: 2, unchanged: 0 }]);
    const now = await db.value("select now()");
    expect(await stored(db)).toEqual([
      assistant,
      { ...row, role: "author", ended_at: now },
      former,
      { ...instructor, ended_at: now },
    ]);
    expect(await sync(db)).toEqual([{ inserted: 0, updated: 0, unchanged: 0 }]);

    await db.query("insert into public.staff values ('tess', 'c', 'author', null, null)");
    expect(await sync(db)).toEqual([{ inserted: 0, updated: 1, unchanged: 0 }]);
    expect(await stored(db)).toEqual([assistant, { ...row, role: "author" }, former, { ...instructor, ended_at: now }]);
  });
});

test("roles follow the links of people, and their removal", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [message({ userId: "tess" }), message({ userId: "theresa" })]);
    await db.query(`${makeStaff}; insert into public.staff values
      ('tess', 'c', 'instructor', null, null), ('theresa', 'c', 'instructor', null, '2021-01-01Z'), ('theresa', 'd', 'author', null, null)`);
    await sync(db);
    const before = await stored(db);
    const people = () => db.value("select array_agg(distinct person_id) from track.item_role");
    await db.query("select track.link_identities('tess', 'theresa')");
    expect(await stored(db)).toEqual(before);
    expect(await people()).toEqual([await db.value("select track.find_person('tess')")]);
    expect(await sync(db)).toEqual([{ inserted: 0, updated: 0, unchanged: 3 }]);
    await db.query("select track.unlink_identities('tess', 'theresa')");
    expect(await stored(db)).toEqual(before);
    expect(await people()).toHaveLength(2);
  });
});

test("a role in a merged item applies to the other one, until the merge is undone", async () => {
  await database.as("postgres", {}, async (db) => {
    const applied = () =>
      db.rows(
        `select identity.external_id as person, item.external_id as item, role
         from track.applied_item_role as role_of
         join track.identity on identity.identity_id = role_of.person_id join track.item using (item_id) order by 1, 2, 3`,
      );
    await db.query(`${makeStaff}; insert into public.staff values
      ('tess', 'old', 'instructor', null, null), ('tess', 'new', 'author', null, null), ('otto', 'old', 'author', null, null)`);
    await sync(db);
    const before = await applied();
    await db.query("select track.merge_items('old', 'new')");
    const merged = [
      { person: "otto", item: "new", role: "author" },
      { person: "tess", item: "new", role: "author" },
      { person: "tess", item: "new", role: "instructor" },
    ];
    expect(await applied()).toEqual(merged);
    expect(await sync(db)).toEqual([{ inserted: 0, updated: 0, unchanged: 3 }]);
    expect(await applied()).toEqual(merged);
    await db.query("select track.unmerge_item('old')");
    expect(await applied()).toEqual(before);
    expect(before).toContainEqual({ person: "tess", item: "old", role: "instructor" });
  });
});

test("is for admins and workers, on what they may read themselves", async () => {
  await database.query("create table public.readable (person text, item text, role text)");
  expect(await rolesThatMay(database, "select track.sync_item_roles('public.readable')")).toEqual([]);
  await database.query("grant select on public.readable to public");
  expect(await rolesThatMay(database, "select track.sync_item_roles('public.readable')")).toEqual(["admin", "worker"]);
});

test("a further period does not replace the current one, and of two rows with one start the later end applies", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`${makeStaff}; insert into public.staff values
      ('tess', 'c', 'instructor', '2025-01-01Z', '2100-01-01Z'), ('tess', 'c', 'instructor', '2101-01-01Z', null),
      ('tess', 'c', 'instructor', '2025-01-01Z', '2025-02-01Z'), ('otto', 'c', 'author', null, '2025-02-01Z'),
      ('otto', 'c', 'author', '-infinity', null)`);
    expect(await sync(db)).toEqual([{ inserted: 3, updated: 0, unchanged: 2 }]);
    expect(await stored(db)).toMatchObject([
      { person: "otto", started_at: -Infinity, ended_at: Infinity },
      { person: "tess", started_at: new Date("2025-01-01Z"), ended_at: new Date("2100-01-01Z") },
      { person: "tess", started_at: new Date("2101-01-01Z"), ended_at: Infinity },
    ]);
    await db.query("update track.item set kind = 'course'");
    await db.query(
      "select set_config('role', 'insights_instructor', true), set_config('insights.person', 'tess', true)",
    );
    await db.query("select track.sign_in()");
    expect(await db.rows("select course, started_at, ended_at from track.taught_courses()")).toEqual([
      { course: "c", started_at: new Date("2025-01-01Z"), ended_at: new Date("2100-01-01Z") },
    ]);
  });
});
