import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";
import { alias, belongings, browse, identify } from "./names.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const merge = (db: Queries, person: string, other: string) =>
  db.query("select track.merge_persons($1, $2)", [person, other]);
const split = (db: Queries, person: string, names: string[]): Promise<number> =>
  db.value("select track.split_person($1, $2)", [person, names]);

test("undoes a merge without a trace; the browsers of a user leave with her", async () => {
  await inside(async (db) => {
    await ingest(db, [identify("b1", "ada"), browse("b1"), message(), identify("b2", "ben"), browse("b2")]);
    await merge(db, "ada", "ben");
    expect(await split(db, "ada", ["ben"])).toBe(1);
    expect(await belongings(db, "ada")).toEqual(["ada", "b1"]);
    expect(await belongings(db, "ben")).toEqual(["b2"]);
    expect(await db.value("select count(*)::int from track.identity_link where kind = 'merge'")).toBe(0);
  });
});

test("removes each link between the two groups, those of messages included, and no other", async () => {
  await inside(async (db) => {
    await ingest(
      db,
      ["ada", "ben", "eve", "kim"].map((userId) => message({ userId })),
    );
    await ingest(db, [alias("ben", "ada"), alias("kim", "eve")]);
    await merge(db, "ada", "eve");
    await merge(db, "ben", "kim");
    await merge(db, "kim", "ada");
    expect(await split(db, "ada", ["eve", "kim"])).toBe(1);
    expect(await belongings(db, "ada")).toEqual(["ada", "ben"]);
    expect(await belongings(db, "kim")).toEqual(["eve", "kim"]);
    // An alias also links a browser of this name.
    expect(await split(db, "ada", ["ben"])).toBe(2);
    expect(await belongings(db, "ben")).toEqual(["ben"]);
    expect(
      await db.rows(
        `select one.external_id as name, link.kind, unlinked_at is null as active
         from track.identity_link as link join track.identity as one using (identity_id)
         where one.kind = 'user' order by 1`,
      ),
    ).toEqual([
      { name: "ben", kind: "alias", active: false },
      { name: "kim", kind: "alias", active: true },
    ]);
  });
});

test("of a chain: each stays with those it is still linked with", async () => {
  await inside(async (db) => {
    await ingest(
      db,
      ["ada", "ben", "eve"].map((userId) => message({ userId })),
    );
    await merge(db, "ada", "ben");
    await merge(db, "ben", "eve");
    expect(await split(db, "eve", ["ada"])).toBe(1);
    expect(await belongings(db, "ada")).toEqual(["ada"]);
    expect(await belongings(db, "ben")).toEqual(["ben", "eve"]);
    await merge(db, "ada", "ben");
    expect(await split(db, "ada", ["ben"])).toBe(2);
    for (const name of ["ada", "ben", "eve"]) expect(await belongings(db, name)).toEqual([name]);
  });
});

test("a browser alone, as unlink_identities does: an older identify does not link it again, a later one does", async () => {
  await inside(async (db) => {
    await ingest(db, [identify("b1", "ada"), browse("b1"), message()]);
    expect(await split(db, "ada", ["b1"])).toBe(1);
    expect(await belongings(db, "ada")).toEqual(["ada"]);
    await ingest(db, [identify("b1", "ada", { timestamp: "2026-03-01T00:00:00Z" })]);
    expect(await belongings(db, "b1")).toEqual(["b1"]);
    await ingest(db, [identify("b1", "ada", { timestamp: new Date(Date.now() + 60_000).toISOString() })]);
    expect(await belongings(db, "ada")).toEqual(["ada", "b1"]);
  });
});

test("a browser that a merge gave a user is free again, or that of those who identified on it", async () => {
  await inside(async (db) => {
    await ingest(db, [message(), browse("b1", { timestamp: "2026-03-01T09:00:00Z" })]);
    await merge(db, "ada", "b1");
    await split(db, "ada", ["b1"]);
    expect(await belongings(db, "b1")).toEqual(["b1"]);
    await merge(db, "ada", "b1");
    await ingest(db, [message({ userId: "ben" }), identify("b1", "ben", { timestamp: "2026-03-01T10:00:00Z" })]);
    await split(db, "ada", ["b1"]);
    expect(await belongings(db, "ben")).toEqual(["b1", "ben"]);
    expect(await belongings(db, "ada")).toEqual(["ada"]);
    expect(await db.rows("select kind, branch from track.identity where external_id = 'b1'")).toEqual([
      { kind: "anonymous", branch: "0" },
    ]);
  });
});

test("a browser of two users of the person has one identity again, with all that it sent", async () => {
  await inside(async (db) => {
    const at = (hour: number) => ({ timestamp: `2026-03-01T${hour}:00:00Z` });
    await ingest(db, [
      identify("b1", "ada", at(10)),
      browse("b1", at(11)),
      identify("b1", "ben", at(12)),
      browse("b1", at(13)),
      message(),
      message({ userId: "ben" }),
    ]);
    await merge(db, "ada", "ben");
    expect(await split(db, "ada", ["b1"])).toBe(2);
    expect(await belongings(db, "b1")).toEqual(["b1", "b1"]);
    expect(await belongings(db, "ben")).toEqual(["ada", "ben"]);
    expect(await db.rows("select branch, user_identity_id from track.identity where external_id = 'b1'")).toEqual([
      { branch: "0", user_identity_id: null },
    ]);
    await ingest(db, [identify("b1", "eve", { timestamp: new Date(Date.now() + 60_000).toISOString() })]);
    expect(await belongings(db, "eve")).toEqual(["b1", "b1"]);
  });
});

test.each([
  ["'ada', '{}'", "CF001", "0 names"],
  ["'ada', null", "CF001", "0 names"],
  ["'ada', array_fill('ben'::text, '{10001}')", "CF001", "10001 names"],
  ["'ada', '{{ada},{ben}}'", "CF001", "2 names"],
  ["'ada', '{ada,ben}'", "CF001", "all names"],
  ["'ada', '{eve}'", "CF002", "eve"],
  ["'ada', array[null::text]", "CF002", "null"],
  ["'ada', array[repeat('x', 100000)]", "CF002", "xxx"],
  ["'who is this', '{ada}'", "CF002", "who is this"],
  ["null, '{ada}'", "CF002", "null"],
])("split_person(%s) is %s", async (values, code, text) => {
  await inside(async (db) => {
    await ingest(db, [message(), message({ userId: "ben" }), message({ userId: "eve" }), identify("b1", "ben")]);
    await merge(db, "ada", "ben");
    const error = await db.rejects(`select track.split_person(${values})`);
    expect(error.code).toBe(code);
    expect(error.message).toContain(text);
    expect(error.message.length).toBeLessThan(300);
  });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select track.split_person('ada', '{ben}')")).toEqual(["admin"]);
});
