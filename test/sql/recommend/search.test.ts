import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import * as algebra from "../../support/matrix.ts";
import { ingest, refresh } from "../../support/recommend.ts";
import { chains } from "./evaluations.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);
await ingest(database, [
  { person: "p0", event: "Course Enrolled", item: "step-00", kind: "course" },
  { person: "p0", event: "Page Viewed", item: "a page", kind: "page" },
]);

test("keeps the best of each method, which the next training tries", async () => {
  await inside(async (db) => {
    await ingest(db, chains(80, algebra.generator(31)));
    await refresh(db);
    const best = await db.rows<{ algorithm: string; ndcg_at_10: number; parameters: object; evaluation_id: string }>(
      "select * from recommend.search(trials => 10, seed => 3)",
    );
    expect(best.map(({ algorithm }) => algorithm).sort()).toEqual(["ease", "edlae", "item_knn", "sequence"]);
    const trials = await db.rows<{ model: string; value: number }>(
      "select model, value from recommend.evaluation_result where evaluation_id = $1 and metric = 'ndcg'",
      [best[0]?.evaluation_id],
    );
    expect(trials).toHaveLength(10);
    for (const { algorithm, ndcg_at_10 } of best) {
      const own = trials.filter(({ model }) => model.startsWith(`${algorithm}(`)).map(({ value }) => value);
      expect(ndcg_at_10).toBe(Math.max(...own));
    }
    // The same seed tries the same.
    expect(
      (await db.rows("select * from recommend.search(trials => 10, seed => 3)")).map((row) => ({
        ...row,
        evaluation_id: 0,
        found_at: 0,
      })),
    ).toEqual(best.map((row) => ({ ...row, evaluation_id: 0, found_at: 0 })));
    await db.query(`update recommend.best_parameters set parameters = '{"decay": 0.123}' where algorithm = 'sequence'`);
    await db.query("select recommend.train()");
    expect(
      await db.value(
        `select count(*)::int from recommend.evaluation_model
         where model = 'sequence of a search' and parts -> 0 -> 'parameters' ->> 'decay' = '0.123'`,
      ),
    ).toBe(1);
  });
});

test.each([
  ["trials => 0", "CF001"],
  ["trials => 501", "CF001"],
  ["trials => null", "CF001"],
  ["seed => null", "CF001"],
  ["'curse'", "CF002"],
  ["'page'", "CF004"],
])("search(%s) is refused with %s", async (args, code) => {
  expect((await database.rejects(`select recommend.search(${args})`)).code).toBe(code);
  expect(await database.value("select count(*)::int from recommend.evaluation where purpose = 'search'")).toBe(0);
});
