import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "./messages.ts";
import { members } from "./sets.ts";

const database = await testDatabase();
// People on both sides of the edges of blocks.
await database.query("select setval('track.identity_identity_id_seq', 4093)");
await ingest(
  database,
  ["a", "b", "c", "d"].map((userId) => message({ userId })),
);
await refresh(database);
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

describe("person_set_members", () => {
  test("are in the order of their keys, over the edges of blocks", async () => {
    expect(
      await database.rows("select person_set_members::int as id from track.person_set_members('counted')"),
    ).toEqual([4094, 4095, 4096, 4097].map((id) => ({ id })));
    expect(
      await database.rows(
        "select block, bit_count(people)::int as n from track.person_set_block where name = 'counted' order by 1",
      ),
    ).toEqual([
      { block: 0, n: 2 },
      { block: 1, n: 2 },
    ]);
  });

  test("are computed by the function of a set that a room defines, for all people after the next refresh", async () => {
    await inside(async (db) => {
      await db.query(`
        create schema lab;
        grant usage on schema lab to insights_owner;
        -- Also people who were not asked for, and one who does not exist.
        create function lab.even(set_name text, people bigint[]) returns setof bigint language sql stable as $$
          select asked from unnest(people || people || 0::bigint || 999998::bigint) as asked
          where set_name = 'lab.even' and asked % 2 = 0
        $$`);
      expect(await db.value("select track.define_person_set('lab.even', 'Even keys.', 'lab.even')")).toBe("4");
      expect(await members(db, "lab.even")).toEqual([]);
      await refresh(db, 1);
      expect(await members(db, "lab.even")).toEqual(["a", "c"]);
      await ingest(db, [message({ userId: "e" })]);
      await refresh(db);
      expect(await members(db, "lab.even")).toEqual(["a", "c", "e"]);
      // Replaced.
      await db.query("select track.define_person_set('lab.even', 'All who signed in.', 'track.signed_in_people')");
      await refresh(db);
      expect(await members(db, "lab.even")).toEqual(["a", "b", "c", "d", "e"]);
    });
  });

  test("include people who came by identify alone, and no browser", async () => {
    await inside(async (db) => {
      await ingest(db, [
        { type: "identify", messageId: "i1", userId: "nova", anonymousId: "nova-browser", traits: { plan: "pro" } },
        message({ userId: undefined, anonymousId: "b1" }),
      ]);
      await refresh(db);
      for (const set of ["signed_in", "counted"])
        expect(await members(db, set), set).toEqual(["a", "b", "c", "d", "nova"]);
    });
  });

  test.each([
    ["'lab.x', 'x', 'lab.missing'", "CF002"],
    ["'lab.x', 'x', null", "CF002"],
    ["'lab.x', 'x', 'track.counted_people(text, bigint[]); drop table track.event; --'", "CF002"],
    ["'X', 'x', 'track.counted_people'", "CF001"],
  ])("define_person_set(%s) is %s", async (values, code) => {
    expect(await database.rejects(`select track.define_person_set(${values})`)).toMatchObject({ code });
  });

  test("an unknown set is CF002, and the nearest is named", async () => {
    expect(await database.rejects("select track.person_set_members('countd')")).toMatchObject({
      code: "CF002",
      hint: 'Did you mean "counted"?',
    });
    expect(
      (await database.rejects("select track.person_set_members(repeat('x', 100000))")).message.length,
    ).toBeLessThan(200);
  });

  test("are for admins and workers", async () => {
    expect(await rolesThatMay(database, "select track.person_set_members('counted')")).toEqual(["admin", "worker"]);
  });
});
