import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, message, refresh } from "./messages.ts";
import { alias, belongings, browse, identify } from "./names.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

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

  test("never joins two users: a browser belongs to each from when on she identified", async () => {
    await inside(async (db) => {
      await ingest(db, [
        browse("shared"),
        identify("shared", "ada"),
        identify("shared", "ben"),
        message({ userId: "ben" }),
      ]);
      await ingest(db, [identify("shared", "ben")]);
      await ingest(db, [browse("shared")]);
      expect(await belongings(db, "ben")).toEqual(["ben", "shared", "shared"]);
      expect(await belongings(db, "ada")).toEqual([]);
    });
  });

  test("what two people did after each other on one computer is not mixed, in any order of arrival", async () => {
    const at = (time: string) => ({ timestamp: `2026-03-02T${time}:00Z` });
    const batch = [
      identify("kiosk", "ada", at("08:00")),
      browse("kiosk", at("07:55")),
      browse("kiosk", at("08:05")),
      identify("kiosk", "ben", at("09:00")),
      browse("kiosk", at("09:05")),
      identify("kiosk", "ada", at("10:00")),
      browse("kiosk", at("10:05")),
    ];
    for (const order of [[batch], batch.map((one) => [one]), batch.toReversed().map((one) => [one])]) {
      await inside(async (db) => {
        for (const part of order) await ingest(db, part);
        const did = async (name: string) =>
          (
            await db.rows<{ at: string }>(
              "select to_char(occurred_at at time zone 'UTC', 'HH24:MI') as at from track.journey($1, '2026-03-01')",
              [name],
            )
          ).map((row) => row.at);
        expect(await did("ada")).toEqual(["07:55", "08:05", "10:05"]);
        expect(await did("ben")).toEqual(["09:05"]);
        // The name of the browser is that of its present user.
        expect(await db.value("select track.find_person('kiosk') = track.find_person('ada')")).toBe(true);
        await refresh(db);
        expect(
          await db.value("select count(*)::int from track.session where person_id = track.find_person('ada')"),
        ).toBe(2);
      });
    }
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
