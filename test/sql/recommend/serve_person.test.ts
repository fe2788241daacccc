import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import type { Recommendation } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeHistory, trainOnHistory } from "./history.ts";
import { impressions } from "./servings.ts";

const database = await testDatabase();
await makeHistory(database);
await trainOnHistory(database);

const list = (db: Queries, call: string): Promise<Recommendation[]> =>
  db
    .rows<{ row: Recommendation }>(`select to_jsonb(r) as row from ${call} as r`)
    .then((rows) => rows.map(({ row }) => row));
const become = (db: Queries, role: string) => db.query("select set_config('role', $1, true)", [role]);
/** The parts of a row that do not depend on the call. */
const comparable = (rows: Recommendation[]) => rows.map(({ serving_id: _, ...row }) => ({ ...row, next_page: null }));

test("records what for_person returns, for the person and for the browser", () =>
  database.as("postgres", {}, async (db) => {
    await db.query("select track.ingest($1)", [
      JSON.stringify([{ type: "track", messageId: "b", anonymousId: "browser", event: "Seen" }]),
    ]);
    const expected = [];
    for (const [role, person] of [
      ["insights_admin", "p1"],
      ["insights_worker", "browser"],
    ] as const) {
      await become(db, role);
      const read = await list(db, `recommend.for_person('${person}', 4)`);
      const rows = await list(db, `recommend.serve_person('${person}', 4)`);
      expect(comparable(rows)).toEqual(comparable(read));
      expected.push(...rows.map(({ item, rank }) => ({ person, item, rank, is_served: true, seen_at: null })));
    }
    await become(db, "insights_admin");
    expect(await list(db, "recommend.serve_person('who is this')")).toHaveLength(10);
    await become(db, "postgres");
    await db.query("select track.refresh(100000)");
    const place = (row: { person: string; rank: number }) => row.person + row.rank;
    expect(
      (await impressions(db))
        .map(({ person, item, rank, is_served, seen_at }) => ({ person, item, rank, is_served, seen_at }))
        .sort((a, b) => (place(a) < place(b) ? -1 : 1)),
    ).toEqual(expected.sort((a, b) => (place(a) < place(b) ? -1 : 1)));
  }));

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select recommend.serve_person('p0')")).toEqual(["admin", "worker"]);
  const error = await database.rejects("select recommend.serve_person('')");
  expect(`${error.code} ${error.message}`).toBe('CF001 the person is ""');
});

test("an explored slot is recorded with its probability and the items it was drawn from, and an estimate finds it", () =>
  database.as("postgres", {}, async (db) => {
    await db.query("update recommend.setting set explored_slots = '{2}', explored_pool_size = 4");
    await become(db, "insights_worker");
    const people = Array.from({ length: 20 }, (_, n) => `p${n}`);
    let clicks = 0;
    for (const [n, person] of people.entries()) {
      const rows = await list(db, `recommend.serve_person('${person}', 4)`);
      const drawn = rows.filter((row) => (row as unknown as { propensity: number | null }).propensity !== null);
      expect(drawn.map(({ rank }) => rank)).toEqual([2]);
      if (n % 3 > 0) continue;
      clicks += 1;
      await db.query("select recommend.person_feedback($1, 'click', serving_id => $2)", [person, drawn[0]?.serving_id]);
    }
    await become(db, "postgres");
    await db.query("select track.refresh(100000)");
    const slots = await db.rows<{ is_right: boolean; basis: string }>(
      `select item_id = any (pool) and abs(propensity - 1.0::float8 / cardinality(pool)) < 1e-9 and cardinality(pool) <= 4 as is_right, basis
       from recommend.impression where propensity is not null`,
    );
    expect(slots).toEqual(people.map(() => ({ is_right: true, basis: slots[0]?.basis })));
    expect(
      Number(await db.value("select count(*) from recommend.impression where propensity is null and pool is not null")),
    ).toBe(0);
    for (const policy of ["served", "random"])
      expect(
        await db.value("select to_jsonb(recommend.off_policy_estimate($1, until => now() + interval '1 day'))", [
          policy,
        ]),
      ).toMatchObject({
        slots: 20,
        people: 20,
        ips: expect.closeTo(clicks / 20, 7),
        mean_weight: expect.closeTo(1, 7),
      });
    expect(
      await db.value("select to_jsonb(recommend.off_policy_estimate('popularity', until => now() + interval '1 day'))"),
    ).toMatchObject({ slots: 20 });
    expect(
      (await db.rows("select name, person_count from recommend.serving_report(by => 'slot', until => 'infinity')")).map(
        Object.values,
      ),
    ).toEqual([
      ["explored", "20"],
      ["ranked", "20"],
    ]);
  }));

test.runIf(database.native)(
  "a list that is served while its browser is linked to a user is that of the user",
  async () => {
    await database.query("select track.ingest($1)", [
      JSON.stringify([
        { type: "track", messageId: "of a phone", anonymousId: "phone", event: "Seen" },
        { type: "track", messageId: "of a user", userId: "ulla", event: "Seen" },
      ]),
    ]);
    const [serving, linking] = [await database.pool.connect(), await database.pool.connect()];
    try {
      await serving.query("begin");
      await serving.query("set local role insights_worker");
      await serving.query("select recommend.serve_person('phone', 2)");
      const linked = linking.query("select track.ingest($1)", [
        JSON.stringify([{ type: "identify", messageId: "link", userId: "ulla", anonymousId: "phone" }]),
      ]);
      // The link waits for the list, so that it finds its rows.
      await expect
        .poll(() =>
          database.value(
            "select count(*)::int from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
          ),
        )
        .toBe(1);
      await serving.query("commit");
      await linked;
    } finally {
      serving.release();
      linking.release();
    }
    while ((await database.rows("select from track.refresh(100000)")).length > 0);
    expect((await impressions(database)).map(({ person, rank }) => `${person} ${rank}`)).toEqual(["ulla 1", "ulla 2"]);
  },
);
