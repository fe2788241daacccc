import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "./messages.ts";
import { members } from "./sets.ts";

const database = await testDatabase();
await ingest(
  database,
  ["ada", "ben"].map((userId) => message({ userId })),
);
await refresh(database);
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

describe("include_person", () => {
  test("reverses an exclusion at the next refresh", async () => {
    await inside(async (db) => {
      await db.query("select track.exclude_person('ada', 'staff')");
      await refresh(db);
      expect(await members(db, "counted")).toEqual(["ben"]);
      expect(await db.value("select track.include_person('ada')")).toBe(true);
      await refresh(db);
      expect(await members(db, "counted")).toEqual(["ada", "ben"]);
      expect(await db.value("select count(*)::int from track.exclusion")).toBe(0);
    });
  });

  test("by one name includes the person with all names", async () => {
    await inside(async (db) => {
      await db.query("select track.exclude_person('ada', 'staff'), track.exclude_person('ben', 'staff')");
      await db.query("select track.link_identities('ada', 'ben')");
      await db.query("select track.include_person('ben')");
      await refresh(db);
      expect(await members(db, "counted")).toEqual(["ada"]);
    });
  });

  test.each([["nobody"], ["ada"]])("include_person('%s') is CF002: not excluded", async (name) => {
    const error = await database.rejects("select track.include_person($1)", [name]);
    expect(error).toMatchObject({ code: "CF002" });
    expect(error.hint).toBeTruthy();
  });

  test("reverses the exclusion of a browser whose user was unlinked", async () => {
    await inside(async (db) => {
      for (const [userId, day] of [
        ["ada", "02"],
        ["ben", "03"],
      ]) {
        await ingest(db, [message({ type: "identify", userId, anonymousId: "kiosk", timestamp: `2026-03-${day}` })]);
      }
      await db.query("select track.exclude_person('kiosk', 'test')");
      await db.query("select track.unlink_identities('kiosk', 'ben')");
      expect(await db.value("select track.include_person('kiosk')")).toBe(true);
      expect(await db.value("select count(*)::int from track.exclusion")).toBe(0);
    });
  });

  test("is for admins", async () => {
    expect(await rolesThatMay(database, "select track.include_person('ada')")).toEqual(["admin"]);
  });
});
