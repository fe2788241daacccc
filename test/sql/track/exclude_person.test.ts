import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "./messages.ts";
import { members } from "./sets.ts";

const database = await testDatabase();
await ingest(
  database,
  ["ada", "ben", "cleo"].map((userId) => message({ userId })),
);
await ingest(database, [message({ userId: undefined, anonymousId: "b1" })]);
await refresh(database);
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

describe("exclude_person", () => {
  test("takes effect at the next refresh, and records who excluded whom and why", async () => {
    await database.as("insights_admin", { "insights.person": "root" }, async (db) => {
      expect(await db.value("select track.exclude_person('ada', 'test', 'A test account.')")).toBe(true);
      expect(await members(db, "counted")).toEqual(["ada", "ben", "cleo"]);
      await refresh(db);
      expect(await members(db, "counted")).toEqual(["ben", "cleo"]);
      expect(await members(db, "signed_in")).toEqual(["ada", "ben", "cleo"]);
      expect(await db.value("select track.exclude_person('ada', 'staff')")).toBe(false);
      expect(
        await db.rows(
          "select external_id, reason, note, excluded_by from track.exclusion join track.identity using (identity_id)",
        ),
      ).toEqual([{ external_id: "ada", reason: "staff", note: null, excluded_by: "root" }]);
    });
  });

  test("follows merges, and their reversal", async () => {
    await inside(async (db) => {
      await db.query("select track.exclude_person('ben', 'staff')");
      await db.query("select track.link_identities('ada', 'ben')");
      await refresh(db);
      expect(await members(db, "counted")).toEqual(["cleo"]);
      await db.query("select track.unlink_identities('ada', 'ben')");
      await refresh(db);
      expect(await members(db, "counted")).toEqual(["ada", "cleo"]);
    });
  });

  test("of a browser excludes the person who identifies on it", async () => {
    await inside(async (db) => {
      await db.query("select track.exclude_person('b1', 'bot')");
      await refresh(db);
      expect(await members(db, "counted")).toEqual(["ada", "ben", "cleo"]);
      await ingest(db, [{ type: "identify", messageId: "i1", userId: "cleo", anonymousId: "b1" }]);
      await refresh(db);
      expect(await members(db, "counted")).toEqual(["ada", "ben"]);
    });
  });

  test.each([
    ["'ada', 'boring'", "CF001", "Use staff, test, bot or service_account."],
    ["'ada', null", "CF001", "Use staff, test, bot or service_account."],
    ["'nobody', 'bot'", "CF002", expect.stringContaining("userId")],
    ["'none', 'bot'", "CF002", expect.stringContaining("userId")],
    ["null, 'bot'", "CF002", expect.stringContaining("userId")],
    ["'ada', 'bot', repeat('x', 1001)", "CF008", expect.stringContaining("1,000")],
  ])("exclude_person(%s) is %s, with a hint", async (values, code, hint) => {
    const error = await database.rejects(`select track.exclude_person(${values})`);
    expect(error).toMatchObject({ code, hint });
    expect(error.message.length).toBeLessThan(200);
    expect(await database.value("select count(*)::int from track.exclusion")).toBe(0);
  });

  test("is for admins", async () => {
    expect(await rolesThatMay(database, "select track.exclude_person('ada', 'staff')")).toEqual(["admin"]);
  });
});

test.skipIf(!database.native)(
  "waits for a merge that is in progress, and excludes the person that results (needs parallel sessions)",
  async () => {
    const busy = await testDatabase();
    await ingest(
      busy,
      ["old", "new"].map((userId) => message({ userId })),
    );
    await refresh(busy);
    let exclusion: Promise<unknown> = Promise.resolve();
    await busy.as("postgres", {}, async (db) => {
      await db.query("select track.link_identities('old', 'new')");
      exclusion = busy.query("select track.exclude_person('new', 'test')");
      for (let waits = false; !waits; )
        waits = await busy.value<boolean>(
          "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'exclude_person')",
        );
      await db.query("commit");
    });
    await exclusion;
    await refresh(busy);
    expect(await members(busy, "counted")).toEqual([]);
  },
);
