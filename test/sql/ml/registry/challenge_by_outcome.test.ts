import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../../support/database.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();

const register = (db: Queries, ndcg: number): Promise<number> =>
  db.value<number>("select ml.register_model('lab.next', 'recommendation', 'sequence', null, $1)", [
    JSON.stringify({ ndcg_at_10: ndcg, row_count: 20 }),
  ]);

test("records the comparison, and deploys the version for the given reason or not at all", async () => {
  await database.as("insights_worker", {}, async (db) => {
    const first = await register(db, 0.2);
    expect(
      await db.value("select to_jsonb(ml.challenge_by_outcome('lab.next', $1, 'first', 'first'))", [first]),
    ).toMatchObject({ version: first, deployed: true, outcome: "first", value: 0.2, champion_version: null });
    const worse = await register(db, 0.1);
    expect(
      await db.value(
        `select to_jsonb(ml.challenge_by_outcome('lab.next', $1, 'worse', null, '{"ndcg_at_10": 0.25}', '2 s'))`,
        [worse],
      ),
    ).toMatchObject({ version: worse, deployed: false, champion_version: first, champion_value: 0.25 });
    expect(await db.value("select ml.deployed_version('lab.next')")).toBe(first);
    const newest = await register(db, 0.2);
    await db.query("select ml.challenge_by_outcome('lab.next', $1, 'equal', 'newest')", [newest]);
    expect(await db.value("select ml.deployed_version('lab.next')")).toBe(newest);
    expect(
      await db.rows(
        "select outcome, challenger_value, champion_value, row_count::int from ml.comparison order by comparison_id",
      ),
    ).toEqual([
      { outcome: "first", challenger_value: 0.2, champion_value: null, row_count: 20 },
      { outcome: "worse", challenger_value: 0.1, champion_value: 0.25, row_count: 20 },
      { outcome: "equal", challenger_value: 0.2, champion_value: null, row_count: 20 },
    ]);
  });
});

test.each([
  ["'lab.next', null, 'first'", "CF001"],
  ["'lab.next', 1, null", "CF001"],
  ["'lab.next', 1, 'best'", "CF001"],
  ["'lab.next', 1, 'first', 'manual'", "CF001"],
  ["'lab.other', 1, 'first'", "CF002"],
])("challenge_by_outcome(%s) is refused with %s", async (args, code) => {
  expect((await database.rejects(`select ml.challenge_by_outcome(${args})`)).code).toBe(code);
});

test("is for those who train", async () => {
  expect(await rolesThatMay(database, "select ml.challenge_by_outcome('lab.none', 1, 'first')")).toEqual([
    "admin",
    "worker",
  ]);
});
