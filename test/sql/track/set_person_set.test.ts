import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "./messages.ts";
import { keys, members } from "./sets.ts";

const database = await testDatabase();
await ingest(
  database,
  ["ada", "ben", "cleo"].map((userId) => message({ userId })),
);
await ingest(database, [message({ userId: undefined, anonymousId: "b1" })]);
await refresh(database);
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

describe("set_person_set", () => {
  test("creates a set, and replaces its members at once", async () => {
    await inside(async (db) => {
      const [ada, ben, cleo] = await keys(db, "ada", "ben", "cleo");
      expect(await db.value("select track.set_person_set('mine', $1, 'My people.')", [[ada, ben, ben]])).toBe("2");
      expect(await members(db, "mine")).toEqual(["ada", "ben"]);
      expect(await db.value("select track.set_person_set('mine', $1)", [[ben, cleo]])).toBe("2");
      expect(await members(db, "mine")).toEqual(["ben", "cleo"]);
      expect(await db.rows("select description, members from track.person_set where name = 'mine'")).toEqual([
        { description: "My people.", members: null },
      ]);
      expect(await db.value("select track.set_person_set('mine', '{}')")).toBe("0");
      expect(await db.value("select count(*)::int from track.person_set_block where name = 'mine'")).toBe(0);
    });
  });

  test("follows a merge, and its reversal", async () => {
    await inside(async (db) => {
      const [b1] = await keys(db, "b1");
      await db.query("select track.set_person_set('mine', $1)", [[b1]]);
      await db.query("select track.link_identities('ada', 'b1')");
      await refresh(db);
      expect(await members(db, "mine")).toEqual(["ada"]);
      await db.query("select track.unlink_identities('ada', 'b1')");
      await refresh(db);
      expect(await members(db, "mine")).toEqual(["b1"]);
    });
  });

  test.each([
    ["'counted', '{}'", "CF001"],
    ["'Mine', '{}'", "CF001"],
    ["null, '{}'", "CF001"],
    ["repeat('a', 101), '{}'", "CF001"],
    ["'mine', '{null}'", "CF001"],
    ["'mine', '{0}'", "CF002"],
    ["'mine', '{-1}'", "CF002"],
    ["'mine', '{9223372036854775807}'", "CF002"],
  ])("set_person_set(%s) is %s, with a hint, and changes nothing", async (values, code) => {
    const error = await database.rejects(`select track.set_person_set(${values})`);
    expect(error).toMatchObject({ code });
    expect(error.hint).toBeTruthy();
    expect(await database.rows("select name from track.person_set where name !~ '^segment[.]' order by 1")).toEqual([
      { name: "counted" },
      { name: "excluded" },
      { name: "shareable" },
      { name: "signed_in" },
      { name: "visitors" },
    ]);
  });

  test.skipIf(!database.native)(
    "lists that change at the same time as people are refreshed and merged lose nothing (needs parallel sessions)",
    async () => {
      const busy = await testDatabase();
      const people = Array.from({ length: 40 }, (_, number) => `busy-${number}`);
      await ingest(
        busy,
        people.map((userId) => message({ userId })),
      );
      const all = await keys(busy, ...people);
      await busy.query("select track.set_person_set('mine', '{}')");
      let adding = true;
      const others = [
        (async () => {
          while (adding) await busy.query("select track.refresh(5)");
        })(),
        (async () => {
          for (let number = 0; number < 20; number += 2)
            await busy.query("select track.link_identities($1, $2)", [people[number], people[number + 1]]);
        })(),
      ];
      try {
        // A person who was merged in the meantime does not exist any more.
        const added = await Promise.allSettled(
          all.map((person) => busy.query("select track.add_to_person_set('mine', $1)", [[person]])),
        );
        for (const { reason } of added.filter((one) => one.status === "rejected"))
          expect(reason).toMatchObject({ code: "CF002" });
      } finally {
        adding = false;
        await Promise.all(others);
      }
      await refresh(busy);
      const listed = await members(busy, "mine");
      expect(listed.length).toBeGreaterThanOrEqual(30);
      await busy.query("delete from track.person_set_block; select track.rebuild('track.person_set')");
      await refresh(busy);
      expect(await members(busy, "mine")).toEqual(listed);
      expect(await members(busy, "signed_in")).toHaveLength(30);
    },
  );

  test("is for admins, and analysts read no members", async () => {
    expect(await rolesThatMay(database, "select track.set_person_set('mine', '{}')")).toEqual(["admin"]);
    for (const table of ["person_set_member", "person_set_block", "exclusion"])
      expect(await rolesThatMay(database, `select * from track.${table}`)).toEqual(["admin", "worker"]);
    for (const statement of [
      "insert into track.person_set (name, description, members) values ('x', 'x', 'pg_catalog.pg_sleep')",
      "update track.person_set_block set people = ~people",
      "delete from track.exclusion",
      "select track.define_person_set('x', 'x', 'track.counted_people')",
      "select track.recompute_person_sets('track.person_set', '{1}')",
      "select track.refresh_person_sets('{1}', '{}', '{}')",
      "select * from track.counted_people('counted', '{1}')",
    ])
      expect(await rolesThatMay(database, statement)).toEqual([]);
  });
});
