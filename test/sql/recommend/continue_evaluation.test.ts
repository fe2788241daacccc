import pg from "pg";
import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import * as algebra from "../../support/matrix.ts";
import { ingest, refresh, twoTastes } from "../../support/recommend.ts";

const database = await testDatabase();

interface Result {
  model: string;
  segment: string;
  metric: string;
  k: number;
  value: number | null;
  standard_error: number | null;
  lower: number | null;
  upper: number | null;
  people: number;
}

const results = (id: unknown): Promise<Result[]> =>
  database.rows<Result>(
    `select model, segment, metric, k, value, standard_error, lower, upper, people
     from recommend.evaluation_result where evaluation_id = $1 order by model, segment, metric, k`,
    [id],
  );

const latest = (): Promise<unknown> => database.value("select max(evaluation_id) from recommend.evaluation");

async function evaluate(args: string): Promise<Result[]> {
  await database.query(`select from recommend.evaluate(${args})`);
  return await results(await latest());
}

beforeAll(async () => {
  await ingest(database, twoTastes(70, algebra.generator(23)));
  await refresh(database);
});

const args = "'{popularity,ease(10),sequence}', k => '{5}', seed => 7";

test("gives the same results, also when data arrive in between", async () => {
  const expected = await evaluate(args);
  const id = await database.value(`select evaluation_id from recommend.start_evaluation(${args})`);
  const progress: number[] = [];
  await database.as("postgres", {}, async (db) => {
    await db.query("select recommend.continue_evaluation($1)", [id]);
    await ingest(db, [{ person: "p1", event: "Course Enrolled", item: "art-6", day: 3, kind: "course" }]);
    await refresh(db);
    for (let state = "running"; state === "running"; ) {
      const [row] = await db.rows<{ state: string; progress: number }>(
        "select state, progress from recommend.continue_evaluation($1)",
        [id],
      );
      state = row?.state ?? "";
      progress.push(row?.progress ?? 0);
    }
    const stored = await db.rows<Result>(
      `select model, segment, metric, k, value, standard_error, lower, upper, people
       from recommend.evaluation_result where evaluation_id = $1 order by model, segment, metric, k`,
      [id],
    );
    expect(stored).toEqual(expected);
  });
  expect([...progress].sort((a, b) => a - b)).toEqual(progress);
  expect(progress.at(-1)).toBe(1);
});

test.skipIf(!database.native)("continues after a kill with the same results (needs parallel sessions)", async () => {
  const expected = await evaluate(args);
  const id = await database.value(`select evaluation_id from recommend.start_evaluation(${args})`);
  for (let n = 0, state = "running"; state === "running"; n++) {
    const client = new pg.Client({ connectionString: database.url() });
    client.on("error", () => {});
    await client.connect();
    await client.query("begin");
    const { rows } = await client.query<{ pid: number; state: string }>(
      "select pg_backend_pid() as pid, state from recommend.continue_evaluation($1)",
      [id],
    );
    const busy = await database.rejects("select recommend.continue_evaluation($1)", [id]);
    expect(busy.code).toBe("CF010");
    // Each step is killed once before its commit, then done.
    await database.query("select pg_terminate_backend($1, 60000)", [rows[0]?.pid]);
    await client.end().catch(() => {});
    state = await database.value("select state from recommend.continue_evaluation($1)", [id]);
    expect(n).toBeLessThan(50);
  }
  expect(await results(id)).toEqual(expected);
});

test("an evaluation that does not exist cannot be continued", async () => {
  expect((await database.rejects("select recommend.continue_evaluation(4711)")).code).toBe("CF002");
  expect((await database.rejects("select recommend.continue_evaluation(null)")).code).toBe("CF002");
});
