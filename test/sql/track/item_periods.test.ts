import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

await database.query("create table public.tree (external_id text primary key, kind text, parent text)");
const place = async (db: Queries, items: Record<string, string | null>): Promise<void> => {
  for (const [item, parent] of Object.entries(items))
    await db.query(
      `insert into public.tree values ($1, 'page', $2) on conflict (external_id) do update set parent = excluded.parent`,
      [item, parent],
    );
  await db.query("select track.sync_items('public.tree')");
};
/** Moves recorded now happened on another day. */
const happened = (db: Queries, at: string): Promise<unknown> =>
  db.query("update track.former_parent set ended_at = $1 where ended_at = now()", [at]);
const periods = (db: Queries, item: string): Promise<object[]> =>
  db.rows(
    `select part.external_id as item, started_at::text as since, ended_at::text as until
     from track.item_periods((select item_id from track.item where external_id = $1)) as within
     join track.item as part on part.item_id = within.part_item_id
     order by 1, 2`,
    [item],
  );
const always = (item: string) => ({ item, since: "-infinity", until: "infinity" });
const day = (number: number): string => `2026-0${number}-01 00:00:00+00`;

test("periods follow the moves of items and of what contains them", async () => {
  await database.as("postgres", { timezone: "UTC" }, async (db) => {
    await place(db, { c: null, d: null, m: "c", p: "m", q: "m", r: "c" });
    expect(await periods(db, "c")).toEqual(["c", "m", "p", "q", "r"].map(always));
    await place(db, { p: "d" });
    await happened(db, day(2));
    await place(db, { m: "d" });
    await happened(db, day(4));
    await place(db, { p: "m" });
    await happened(db, day(5));
    await place(db, { m: "c" });
    await happened(db, day(7));
    expect(await periods(db, "c")).toEqual([
      always("c"),
      { item: "m", since: "-infinity", until: day(4) },
      { item: "m", since: day(7), until: "infinity" },
      { item: "p", since: "-infinity", until: day(2) },
      { item: "p", since: day(7), until: "infinity" },
      { item: "q", since: "-infinity", until: day(4) },
      { item: "q", since: day(7), until: "infinity" },
      always("r"),
    ]);
    expect(await periods(db, "d")).toEqual([
      always("d"),
      { item: "m", since: day(4), until: day(7) },
      { item: "p", since: day(2), until: day(5) },
      { item: "p", since: day(5), until: day(7) },
      { item: "q", since: day(4), until: day(7) },
    ]);
  });
});

test("a description is not a move: a first parent, the same one, and the parents of messages", async () => {
  await database.as("postgres", { timezone: "UTC" }, async (db) => {
    const said = (item: string, parent: string) =>
      message({ userId: "u", event: "Page Viewed", properties: { item, itemKind: "page", parent } });
    await ingest(db, [said("x", "guess")]);
    await place(db, { e: null, f: null, x: "e", y: "e", z: null });
    await place(db, { z: "e", y: "e" });
    await ingest(db, [said("y", "f")]);
    expect(await db.value("select count(*)::int from track.former_parent")).toBe(0);
    expect(await periods(db, "e")).toEqual(["e", "x", "y", "z"].map(always));
    expect(await periods(db, "guess")).toEqual([always("guess")]);
    // In one transaction, the first place is that of before; what was in between was never seen.
    await place(db, { x: "f" });
    await place(db, { x: "z" });
    expect(await db.value("select count(*)::int from track.former_parent")).toBe(1);
    expect((await periods(db, "f")).length).toBe(1);
  });
});

test("a merged item is a further name, also as a former parent", async () => {
  await database.as("postgres", { timezone: "UTC" }, async (db) => {
    await place(db, { g: null, old: "g", k: "old", h: null });
    await place(db, { k: "h" });
    await happened(db, day(3));
    await place(db, { module: "g" });
    await db.query("select track.merge_items('old', 'module')");
    expect(await periods(db, "g")).toEqual([
      always("g"),
      { item: "k", since: "-infinity", until: day(3) },
      always("module"),
    ]);
    // A merge that closes a circle with a former place ends, too.
    await place(db, { h: "k" }).catch(() => undefined);
  });
  await database.as("postgres", { timezone: "UTC" }, async (db) => {
    await place(db, { a: null, b: "a", w: null });
    await place(db, { b: "w" });
    await db.query("select track.merge_items('a', 'b')");
    expect((await periods(db, "w")).length).toBeGreaterThan(1);
    expect((await periods(db, "b")).length).toBeGreaterThan(0);
  });
});

test("an unknown item has no periods of parts; is for administrators", async () => {
  expect(await database.rows("select from track.item_periods(-1)")).toHaveLength(1);
  expect(await database.rows("select from track.item_periods(null)")).toHaveLength(1);
  expect(await rolesThatMay(database, "select * from track.item_periods(1)")).toEqual(["admin"]);
});
