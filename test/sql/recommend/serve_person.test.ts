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
