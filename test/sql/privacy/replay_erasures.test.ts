import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);
const names = async (db: Queries): Promise<string[]> =>
  (
    await db.rows<{ name: string }>(
      "select external_id as name from track.identity where identity_id <> 0 order by external_id",
    )
  ).map(({ name }) => name);
const list = (db: Queries, since = "-infinity") =>
  db.value<{ key: string; names: Record<string, unknown>[] }>("select privacy.erasure_list($1)", [since]);
const replay = (db: Queries, given: unknown) =>
  db.value<string>("select privacy.replay_erasures($1)", [JSON.stringify(given)]);

describe("privacy.erasure_list and privacy.replay_erasures", () => {
  test("after the restore of a backup, the people are erased again and stay suppressed", async () => {
    await inside(async (db) => {
      await ingest(db, [
        message({ userId: "ada" }),
        message({ type: "identify", event: undefined, userId: "ada", anonymousId: "phone" }),
        message({ userId: "ben" }),
        message({ userId: "eve" }),
      ]);
      await db.query("savepoint backup");
      await db.query("select privacy.erase_person('ada')");
      // Eve is erased, and comes back with a new consent.
      await db.query("select privacy.erase_person('eve')");
      await db.query("select privacy.lift_suppression('{user}', '{eve}')");
      const kept = await list(db);
      expect(kept.names).toHaveLength(3);
      expect(JSON.stringify(kept)).not.toMatch(/ada|phone|eve/);
      await db.query("rollback to backup");

      expect(await names(db)).toEqual(["ada", "ben", "eve", "phone"]);
      expect(await replay(db, kept)).toBe("2");
      expect(await names(db)).toEqual(["ben"]);
      expect(await db.value("select count(*)::int from privacy.erasure")).toBe(2);
      expect((await ingest(db, [message({ userId: "ada" }), message({ userId: "eve" })])).accepted).toBe(1);
      // All of this is one transaction, so that its identities have one time.
      await db.query("update track.identity set created_at = clock_timestamp() where external_id = 'eve'");
      // Eve has data of her own again, which a repeated call leaves.
      expect(await replay(db, kept)).toBe("0");
      expect(await names(db)).toEqual(["ben", "eve"]);
    });
  });

  test("people whose data was restricted at the time of the backup are erased, others stay restricted", async () => {
    await inside(async (db) => {
      await ingest(db, [message({ userId: "ada" }), message({ userId: "ben" })]);
      await db.query("select privacy.restrict_person('ada', 'accuracy'), privacy.restrict_person('ben', 'accuracy')");
      await db.query("savepoint backup");
      await db.query("select privacy.lift_restriction('ada')");
      await db.query("select privacy.erase_person('ada')");
      const kept = await list(db);
      await db.query("rollback to backup");

      expect(await replay(db, kept)).toBe("1");
      expect(await names(db)).toEqual(["ben"]);
      expect(await db.value("select count(*)::int from privacy.restriction")).toBe(1);
    });
  });

  test("refuses a list of another database, and other documents", async () => {
    const bad: [unknown, string][] = [
      [{ key: "0".repeat(64), names: [] }, "CF005"],
      [{ names: [] }, "CF009"],
      [{ key: 1 }, "CF009"],
      [[], "CF009"],
      [null, "CF009"],
      ["x", "CF009"],
    ];
    for (const [given, code] of bad) {
      await inside(async (db) => {
        expect([given, await db.rejects("select privacy.replay_erasures($1)", [JSON.stringify(given)])]).toMatchObject([
          given,
          { code },
        ]);
      });
    }
    for (const wrong of [
      { hash: "zz" },
      { hash: "00", since: "2026-01-01" },
      { hash: "00".repeat(32), since: "soon" },
      {},
    ]) {
      await inside(async (db) => {
        const { key } = await list(db);
        expect(
          await db.rejects("select privacy.replay_erasures($1)", [JSON.stringify({ key, names: [wrong] })]),
        ).toMatchObject({ code: "CF009" });
      });
    }
  });

  test("are for administrators", async () => {
    for (const role of ["insights_visitor", "insights_learner", "insights_analyst", "insights_worker"]) {
      await database.as(role, {}, async (db) => {
        expect(await db.rejects("select privacy.replay_erasures('{}')")).toMatchObject({ code: "42501" });
      });
    }
    await database.as("insights_admin", {}, async (db) => {
      expect(await replay(db, await list(db))).toBe("0");
    });
  });
});
