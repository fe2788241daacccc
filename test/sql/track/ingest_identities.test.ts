import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, type Message, message, refresh } from "./messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const browse = (anonymousId: string, fields: Message = {}) => message({ userId: undefined, anonymousId, ...fields });
const identify = (anonymousId: string, userId: string, fields: Message = {}) =>
  message({ type: "identify", anonymousId, userId, ...fields });
const alias = (previousId: string, userId: string) => message({ type: "alias", previousId, userId });

/** Events a name's person has, by the name that each came with. */
async function belongings(db: Queries, person: string): Promise<string[]> {
  const rows = await db.rows<{ name: string }>(
    `select identity.external_id as name from track.event join track.identity using (identity_id)
     where event.person_id = track.find_person($1) order by occurred_at, event_id`,
    [person],
  );
  return rows.map(({ name }) => name).toSorted();
}

describe("identify", () => {
  test("gives the user what the browser did before and does after", async () => {
    await inside(async (db) => {
      await ingest(db, [browse("b"), browse("b")]);
      await ingest(db, [identify("b", "ada")]);
      await ingest(db, [browse("b"), message({ userId: "ada" })]);
      expect(await belongings(db, "ada")).toEqual(["ada", "b", "b", "b"]);
      expect(await db.value("select track.find_person('b') = track.find_person('ada')")).toBe(true);
    });
  });

  test("in the same batch as the events, before or after them", async () => {
    for (const batch of [
      [browse("b"), identify("b", "ada"), browse("b")],
      [identify("b", "ada"), browse("b"), browse("b")],
    ]) {
      await inside(async (db) => {
        await ingest(db, batch);
        expect(await belongings(db, "ada")).toEqual(["b", "b"]);
      });
    }
  });

  test("never joins two users: a shared browser stays with the first", async () => {
    await inside(async (db) => {
      await ingest(db, [
        browse("shared"),
        identify("shared", "ada"),
        identify("shared", "ben"),
        message({ userId: "ben" }),
      ]);
      await ingest(db, [identify("shared", "ben")]);
      expect(await belongings(db, "ada")).toEqual(["shared"]);
      expect(await belongings(db, "ben")).toEqual(["ben"]);
    });
  });

  test("the same name as a user and as a browser are two identities", async () => {
    await inside(async (db) => {
      await ingest(db, [browse("x"), message({ userId: "x" })]);
      expect(await db.value("select count(distinct person_id) from track.identity where external_id = 'x'")).toBe("2");
      // The user wins where a name is asked for.
      expect(await db.value("select kind from track.identity where identity_id = track.find_person('x')")).toBe("user");
      await ingest(db, [identify("x", "x")]);
      expect(await belongings(db, "x")).toEqual(["x", "x"]);
    });
  });
});

describe("alias", () => {
  test("joins a chain of names, in any order, also before anything of them is heard", async () => {
    const chain = [alias("b", "one"), alias("one", "two"), alias("two", "three")];
    const doings = [browse("b"), message({ userId: "one" }), message({ userId: "two" }), message({ userId: "three" })];
    for (const order of [
      [...chain, ...doings],
      [...doings, ...chain],
      [...chain.toReversed(), ...doings],
      [doings[0], chain[1], doings[3], chain[2], doings[1], chain[0], doings[2]],
    ]) {
      await inside(async (db) => {
        for (const one of order) await ingest(db, [one]);
        for (const name of ["b", "one", "two", "three"]) {
          expect(await belongings(db, name)).toEqual(["b", "one", "three", "two"]);
        }
        expect(await db.value("select count(*) from track.person where person_id <> 0")).toBe("1");
      });
    }
  });

  test("of a name to itself is nothing", async () => {
    await inside(async (db) => {
      expect(await ingest(db, [alias("ada", "ada"), message()])).toMatchObject({ accepted: 2 });
      expect(await belongings(db, "ada")).toEqual(["ada"]);
    });
  });
});

describe("link and unlink", () => {
  const tables = [
    "select person_id, occurred_at, event_id, identity_id, properties from track.event order by event_id",
    "select * from track.person order by 1",
    "select * from track.identity order by identity_id",
    "select * from track.trait order by identity_id, name",
    "select * from track.enrolment order by identity_id, item_id",
    "select * from privacy.consent order by consent_id",
    "select * from track.session order by session_id",
    "select * from track.page_view order by event_id",
    "select * from analytics.activity order by person_id, day, event_type_id, item_id",
  ];
  const everything = async (db: Queries) => {
    await refresh(db);
    const rows = [];
    for (const sql of tables) rows.push(await db.rows(sql));
    return rows;
  };

  test("an unlink undoes a link exactly: events, traits, enrolments, decisions, sessions, rollup", async () => {
    await inside(async (db) => {
      await db.query("create temp table enrolments (person text, item text, enrolled_at timestamptz)");
      await db.query(
        "insert into enrolments values ('ada', 'course', '2026-01-01'), ('eve', 'course', '2026-01-02'), ('eve', 'other', '2026-01-03')",
      );
      await db.query("select track.sync_enrolments('enrolments')");
      const say = (userId: string, plan: string, advertising: boolean) => [
        message({ userId, type: "page", properties: { item: "page" }, timestamp: "2026-03-01T10:00:00Z" }),
        message({ userId, timestamp: `2026-03-01T10:1${plan.length}:00Z`, properties: { item: "page" } }),
        message({ userId, type: "identify", traits: { plan } }),
        message({
          userId,
          event: "Segment Consent Preference Updated",
          context: { consent: { categoryPreferences: { advertising } } },
        }),
      ];
      await ingest(db, [
        ...say("ada", "free", false),
        ...say("eve", "pro", true),
        browse("b", { timestamp: "2026-03-01T10:05:00Z" }),
      ]);
      await db.query("select privacy.record_consent(track.find_person('eve'), 'personalization', false)");
      const before = await everything(db);

      expect(await db.value("select track.link_identities('ada', 'eve')")).toBe(true);
      expect(await db.value("select track.link_identities('ada', 'eve')")).toBe(false);
      expect(await db.value("select track.find_person('eve') = track.find_person('ada')")).toBe(true);
      const merged = await everything(db);
      expect(merged).not.toEqual(before);
      // A merged person has one session in March and one today, and what any of them refused is refused.
      expect(await db.value("select count(*) from track.session where person_id = track.find_person('ada')")).toBe("2");
      expect(await db.value("select privacy.allowed(track.find_person('ada'), 'personalization')")).toBe(false);
      expect(
        await db.value(
          "select count(*) from track.event where person_id <> (select person_id from track.identity where identity.identity_id = event.identity_id)",
        ),
      ).toBe("0");

      expect(await db.value("select track.unlink_identities('ada', 'eve')")).toBe(true);
      expect(await everything(db)).toEqual(before);
      // Nobody inherits what the other one agreed to or refused.
      expect(await db.value("select privacy.allowed(track.find_person('ada'), 'advertising')")).toBe(false);
      expect(await db.value("select privacy.allowed(track.find_person('eve'), 'advertising')")).toBe(true);
      expect(await db.value("select privacy.allowed(track.find_person('ada'), 'personalization')")).toBe(true);
    });
  });

  test("what comes for an unlinked name goes to its own person; an old identify does not link again, a new one does", async () => {
    await inside(async (db) => {
      const past = "2026-03-01T10:00:00Z";
      await ingest(db, [browse("b"), identify("b", "ada", { timestamp: past })]);
      await db.query("select track.unlink_identities('ada', 'b')");
      await ingest(db, [browse("b"), identify("b", "ada", { timestamp: "2026-03-01T11:00:00Z" })]);
      expect(await belongings(db, "ada")).toEqual([]);
      expect(await belongings(db, "b")).toEqual(["b", "b"]);
      await ingest(db, [identify("b", "ada", { timestamp: new Date(Date.now() + 60_000).toISOString() })]);
      expect(await belongings(db, "ada")).toEqual(["b", "b"]);
    });
  });

  test("taking back one link of a chain splits it there", async () => {
    await inside(async (db) => {
      await ingest(db, [
        message({ userId: "one" }),
        message({ userId: "two" }),
        message({ userId: "three" }),
        alias("one", "two"),
        alias("two", "three"),
      ]);
      await db.query("select track.unlink_identities('two', 'one')");
      expect(await belongings(db, "one")).toEqual(["one"]);
      expect(await belongings(db, "two")).toEqual(["three", "two"]);
    });
  });

  test("names that nobody has, links that are none", async () => {
    expect(await database.rejects("select track.link_identities('ghost', 'ada')")).toMatchObject({
      code: "CF002",
      message: 'nobody is known as "ghost"',
    });
    await inside(async (db) => {
      await ingest(db, [message()]);
      expect(await db.rejects("select track.link_identities('ada', 'ada')")).toMatchObject({ code: "CF001" });
      expect(await db.rejects("select track.link_identities('ada', '''; drop table track.event')")).toMatchObject({
        code: "CF002",
      });
      expect(await db.rejects("select track.unlink_identities('ada', 'ben')")).toMatchObject({ code: "CF002" });
    });
  });
});
