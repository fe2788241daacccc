import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

test.each([
  ["select 'a' as person, 'c' as item", "CF002"],
  ["select 'a' as person, 'c' as item, null::timestamptz as enrolled_at", "CF001"],
  ["select 'a' as person, 'c' as item, now() as enrolled_at, 'asleep' as status", "CF001"],
  ["select '' as person, 'c' as item, now() as enrolled_at", "CF001"],
  ["select 'a' as person, 'c' as item, 'yesterday-ish' as enrolled_at", "CF001"],
])("sync_enrolments of (%s) is %s", async (query, code) => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`create view public.source as ${query}`);
    expect(await db.rejects("select track.sync_enrolments('public.source')")).toMatchObject({ code });
  });
});

test("of several enrolments of one person the last one holds, and a second run changes nothing", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(
      "create table public.source (person int, item text, enrolled_at timestamptz, status text, ended_at timestamptz)",
    );
    await db.query(
      "insert into public.source values (7, 'c', '2026-01-01', 'dropped', '2026-02-01'), (7, 'c', '2026-03-01', null, null), (8, 'c', '2026-03-01', 'active', null)",
    );
    const sync = () => db.rows("select * from track.sync_enrolments('public.source')");
    expect(await sync()).toEqual([{ inserted: 2, updated: 0, unchanged: 0 }]);
    expect(await sync()).toEqual([{ inserted: 0, updated: 0, unchanged: 2 }]);
    expect(
      await db.rows(
        "select status, enrolled_at, ended_at from track.enrolment where person_id = track.find_person('7')",
      ),
    ).toEqual([{ status: "active", enrolled_at: new Date("2026-03-01"), ended_at: null }]);
    await db.query("update public.source set status = 'completed', ended_at = '2026-04-01' where person = 8");
    expect(await sync()).toEqual([{ inserted: 0, updated: 1, unchanged: 1 }]);
  });
});

test("people and items that are not known yet are entered, those that are known are found", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [message({ userId: "ada", properties: { item: "c", itemKind: "page" } })]);
    await db.query(
      "create view public.source as select name as person, 'c' as item, timestamptz '2026-01-01' as enrolled_at from unnest(array['ada', 'ben']) as name union all select 'ben', 'new', '2026-01-02'",
    );
    expect(await db.rows("select * from track.sync_enrolments('public.source')")).toEqual([
      { inserted: 3, updated: 0, unchanged: 0 },
    ]);
    expect(
      await db.rows(
        `select identity.external_id as person, item.external_id as item, item.kind, status, enrolled_at, ended_at
         from track.enrolment join track.identity using (person_id) join track.item using (item_id) order by 1, 2`,
      ),
    ).toEqual(
      [
        { person: "ada", item: "c", kind: "page", enrolled_at: new Date("2026-01-01") },
        { person: "ben", item: "c", kind: "page", enrolled_at: new Date("2026-01-01") },
        { person: "ben", item: "new", kind: "course", enrolled_at: new Date("2026-01-02") },
      ].map((row) => ({ ...row, status: "active", ended_at: null })),
    );
    expect(await db.value("select count(*) from track.identity where external_id = 'ada'")).toBe("1");
  });
});

test("one invalid row stores nothing of its batch, and is reported with a hint", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(
      "create view public.source as select 'ada' as person, 'c' as item, now() as enrolled_at, 'active' as status union all select 'ben', repeat('c', 513), now(), 'active'",
    );
    const error = await db.rejects("select track.sync_enrolments('public.source')");
    expect(error.code).toBe("CF001");
    expect(error.message).toContain('the enrolment of "ben"');
    expect(error.message.length).toBeLessThan(300);
    expect(error.hint).toContain("active, completed or dropped");
    expect(await db.value("select count(*) from track.enrolment")).toBe("0");
  });
});

test("is for admins and workers, on what they may read themselves", async () => {
  await database.query("create table public.readable (person text, item text, enrolled_at timestamptz)");
  expect(await rolesThatMay(database, "select track.sync_enrolments('public.readable')")).toEqual([]);
  await database.query("grant select on public.readable to public");
  expect(await rolesThatMay(database, "select track.sync_enrolments('public.readable')")).toEqual(["admin", "worker"]);
});
