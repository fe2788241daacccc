import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import type { Recommendation } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeHistory, trainOnHistory } from "./history.ts";
import { impressions } from "./servings.ts";

const database = await testDatabase();
await makeHistory(database);
await trainOnHistory(database);

const become = async (db: Queries, role: string, person = ""): Promise<void> => {
  await db.query("select set_config('role', $1, true), set_config('insights.person', $2, true)", [role, person]);
  await db.query("select track.sign_in()");
};
const list = (db: Queries, call: string): Promise<Recommendation[]> =>
  db
    .rows<{ row: Recommendation }>(`select to_jsonb(r) as row from ${call} as r`)
    .then((rows) => rows.map(({ row }) => row));
const comparable = (rows: Recommendation[]) => rows.map(({ serving_id: _, ...row }) => ({ ...row, next_page: null }));
const stored = async (db: Queries) => {
  await become(db, "postgres");
  await db.query("select track.refresh(100000)");
  return (await impressions(db)).map(({ person, item, rank, is_served, seen_at }) => ({
    person,
    item,
    rank,
    is_served,
    seen: seen_at !== null,
  }));
};

test("returns what for_items returns, and records it for the learner who is signed in only", () =>
  database.as("postgres", {}, async (db) => {
    for (const [role, person] of [
      ["insights_visitor", ""],
      ["insights_admin", "p0"],
      ["insights_worker", ""],
      ["insights_learner", "a newcomer"],
    ] as const) {
      await become(db, role, person);
      const read = await list(db, "recommend.for_items('{art-1}', 3)");
      expect(comparable(await list(db, "recommend.serve_items('{art-1}', 3)"))).toEqual(comparable(read));
      expect(read).toHaveLength(3);
      expect(await stored(db)).toEqual([]);
    }

    await become(db, "insights_learner", "p0");
    const served = await list(db, "recommend.serve_items('{art-1}', 3)");
    expect(await stored(db)).toEqual(
      served.map(({ item, rank }) => ({ person: "p0", item, rank, is_served: true, seen: false })),
    );
    // Her answer is joined to the row that was served, that of another person is a row of its own.
    for (const person of ["p0", "p1"]) {
      await become(db, "insights_learner", person);
      await db.query("select recommend.feedback('show', serving_id => $1)", [served[0]?.serving_id]);
    }
    await become(db, "postgres");
    await db.query("select track.refresh(100000)");
    const [first, ...others] = served.map(({ item, rank }) => ({
      person: "p0",
      item,
      rank,
      is_served: true,
      seen: rank === 1,
    }));
    expect(await stored(db)).toEqual([first, { ...first, person: "p1", is_served: false }, ...others]);
  }));

test("bad input is that of for_items", async () => {
  expect((await database.rejects("select recommend.serve_items(null)")).code).toBe("CF001");
  expect((await database.rejects("select recommend.serve_items('{art-99}')")).code).toBe("CF002");
});

test("is for visitors, learners, admins and workers", async () => {
  expect(await rolesThatMay(database, "select recommend.serve_items('{art-1}')", { "insights.person": "p0" })).toEqual([
    "visitor",
    "learner",
    "instructor",
    "admin",
    "worker",
  ]);
});
