import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("the score is the share of the cells that agreed in the last checks", async () => {
  await database.as("postgres", {}, async (db) => {
    expect(await db.rows("select * from track.rollup_trust()")).toEqual([]);
    await db.query(`
      insert into track.rollup_check (check_id, rollup, checked_at, month, block, checked, differing, example, duration)
      values
        (1, 'track.step', '2026-03-01Z', '2026-03-01', 0, 100, 100, 'person 7', '1 s'),
        (2, 'track.step', '2026-03-02Z', '2026-03-01', 0, 30, 10, 'person 7', '1 s'),
        (2, 'track.presence', '2026-03-02Z', '2026-03-01', 0, 60, 0, null, '1 s'),
        (3, 'track.step', '2026-03-03Z', '2026-03-01', 1, 10, 0, null, '1 s'),
        (3, 'track.item_day', '2026-03-03Z', '2026-03-01', 1, 0, 0, null, '1 s')
    `);
    await db.query("set local role insights_analyst");
    const trust = await db.rows(
      `select rollup, checked::int, differing::int, score, extract(day from checked_at at time zone 'UTC')::int as checked_on,
         extract(day from differed_at at time zone 'UTC')::int as differed_on
       from track.rollup_trust(2)`,
    );
    expect(trust).toEqual([
      { rollup: "track.item_day", checked: 0, differing: 0, score: null, checked_on: 3, differed_on: null },
      { rollup: "track.presence", checked: 60, differing: 0, score: 1, checked_on: 2, differed_on: null },
      { rollup: "track.step", checked: 40, differing: 10, score: 0.75, checked_on: 3, differed_on: 2 },
      { rollup: "all", checked: 100, differing: 10, score: 0.9, checked_on: 3, differed_on: 2 },
    ]);
    expect(await db.value("select score from track.rollup_trust() where rollup = 'all'")).toBe(0.45);
  });
  expect(await rolesThatMay(database, "select * from track.rollup_trust()")).toEqual(["analyst", "admin", "worker"]);
});
