import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "./messages.ts";
import { alias, belongings, browse, identify } from "./names.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const merge = (db: Queries, person: string, other: string): Promise<boolean> =>
  db.value("select track.merge_persons($1, $2)", [person, other]);
const links = (db: Queries) =>
  db.rows("select kind, unlinked_at is null as is_active from track.identity_link order by linked_at, kind");

test("merges two people with all their identities, once, whichever name of each is given", async () => {
  await inside(async (db) => {
    const [ada, ben] = [identify("b1", "ada"), identify("b2", "ben")];
    await ingest(db, [message(), ada, browse("b1"), ben, message({ userId: "ben" }), browse("b2")]);
    expect(await merge(db, "b1", "b2")).toBe(true);
    expect(await belongings(db, "ada")).toEqual(["ada", "b1", "b2", "ben"]);
    expect(await db.value("select track.find_person('b2') = track.find_person('ada')")).toBe(true);
    for (const pair of [
      ["ada", "ben"],
      ["ben", "b1"],
      ["b2", "ada"],
      ["ada", "ada"],
    ] as [string, string][])
      expect([pair, await merge(db, ...pair)]).toEqual([pair, false]);
    expect((await links(db)).filter(({ kind }) => kind === "merge")).toHaveLength(1);
  });
});

test("a browser without a user becomes that of the user with its past, and later ones have it from then on", async () => {
  await inside(async (db) => {
    await ingest(db, [message(), browse("b1", { timestamp: "2026-01-01T00:00:00Z" })]);
    expect(await merge(db, "b1", "ada")).toBe(true);
    await ingest(db, [browse("b1")]);
    expect(await belongings(db, "ada")).toEqual(["ada", "b1", "b1"]);
  });
});

test("two people without a user", async () => {
  await inside(async (db) => {
    await ingest(db, [browse("b1"), browse("b2")]);
    expect(await merge(db, "b1", "b2")).toBe(true);
    expect(await belongings(db, "b2")).toEqual(["b1", "b2"]);
    await ingest(db, [identify("b2", "ada"), message()]);
    expect(await belongings(db, "ada")).toEqual(["ada", "b1", "b2"]);
  });
});

test("an alias of the same names stays when the merge is undone by a split that does not concern it", async () => {
  await inside(async (db) => {
    await ingest(
      db,
      ["ada", "ben", "eve"].map((userId) => message({ userId })),
    );
    await merge(db, "ada", "ben");
    await ingest(db, [alias("ben", "ada")]);
    // An alias also links a browser of this name.
    expect((await links(db)).map(({ kind }) => kind)).toEqual(["merge", "alias", "alias"]);
    await merge(db, "ada", "eve");
    await db.query("select track.split_person('ada', '{eve}')");
    expect(await belongings(db, "ada")).toEqual(["ada", "ben"]);
  });
});

test("no person has more identities than the limit", async () => {
  await inside(async (db) => {
    await db.query("update track.setting set most_identities = 3");
    await ingest(db, [identify("b1", "ada"), identify("b2", "ben")]);
    const error = await db.rejects("select track.merge_persons('ada', 'ben')");
    expect(error).toMatchObject({ code: "CF008", message: 'the person "ada" would have 4 identities' });
  });
});

test("what one of them has refused is refused for both", async () => {
  await inside(async (db) => {
    await ingest(db, [
      message({ properties: { item: "x" } }),
      message({
        userId: "ben",
        event: "Segment Consent Preference Updated",
        context: { consent: { categoryPreferences: { personalization: false } } },
      }),
    ]);
    await refresh(db);
    expect(await db.value("select count(*)::int from recommend.interaction")).toBe(1);
    await merge(db, "ada", "ben");
    await refresh(db);
    expect(await db.value("select count(*)::int from recommend.interaction")).toBe(0);
    expect(await db.value("select privacy.allowed(track.find_person('ada'), 'personalization')")).toBe(false);
  });
});

test.each([
  ["'ada', 'who is this'", "who is this"],
  ["'who is this', 'ada'", "who is this"],
  ["null, 'ada'", "null"],
  ["'ada', null", "null"],
  ["'ada', repeat('x', 100000)", "xxx"],
])("merge_persons(%s) is CF002", async (values, text) => {
  await inside(async (db) => {
    await ingest(db, [message()]);
    const error = await db.rejects(`select track.merge_persons(${values})`);
    expect(error.code).toBe("CF002");
    expect(error.message).toContain(text);
    expect(error.message.length).toBeLessThan(200);
  });
});

test("a decision that names the former key of a merged person is hers", async () => {
  await inside(async (db) => {
    await ingest(db, [message({ userId: "ada" }), message({ userId: "ben" })]);
    const former = await db.value("select track.find_person('ben')");
    await merge(db, "ada", "ben");
    await db.query("select privacy.record_consent($1, 'analytics', false)", [former]);
    expect(await db.value("select privacy.allowed(track.find_person('ada'), 'analytics')")).toBe(false);
  });
});

// Each statement stores data for people whose keys a transaction with an older snapshot would take from before the merge.
const stored: [string, string][] = [
  ["track.ingest", `select track.ingest('[{"type": "track", "userId": "OTHER", "event": "E", "messageId": "OTHER"}]')`],
  ["track.sync_enrolments", "select track.sync_enrolments('pg_temp.given')"],
  ["track.sync_item_roles", "select track.sync_item_roles('pg_temp.given')"],
  ["track.exclude_person", "select track.exclude_person('OTHER', 'test')"],
  ["privacy.record_consent", "select privacy.record_consent(track.find_person('OTHER'), 'analytics', false)"],
];
describe.skipIf(!database.native)("in a transaction whose snapshot is from before the merge (needs sessions)", () => {
  test.each(["repeatable read", "serializable"])("what stores data fails: %s", async (isolation) => {
    for (const [index, [name, sql]] of stored.entries()) {
      const [one, other] = [`old-${isolation.length}-${index}`, `old-${isolation.length}-${index}-b`];
      await ingest(database, [message({ userId: one }), message({ userId: other })]);
      const client = await database.pool.connect();
      try {
        await client.query(
          `create temporary table given as
           select '${other}' as person, 'course' as item, 'instructor' as role, now() as enrolled_at`,
        );
        await client.query(`begin isolation level ${isolation}`);
        await client.query("select count(*) from track.identity");
        await database.query("select track.merge_persons($1, $2)", [one, other]);
        const failed = await client.query(sql.replaceAll("OTHER", other)).then(
          () => "stored",
          (error: { code: string }) => error.code,
        );
        expect([name, failed]).toEqual([name, "40001"]);
      } finally {
        await client.query("rollback");
        await client.query("drop table if exists given");
        client.release();
      }
    }
    expect(
      await database.value(
        "select count(*)::int from track.event where person_id <> 0 and person_id not in (select person_id from track.identity)",
      ),
    ).toBe(0);
  });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select track.merge_persons('ada', 'ben')")).toEqual(["admin"]);
});
