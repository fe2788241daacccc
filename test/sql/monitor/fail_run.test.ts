import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

const outcome =
  "select outcome, error, row_count, finished_at >= started_at as in_order from monitor.run where run_id = $1";

test("a run that failed keeps its first error, of 10,000 characters at most", async () => {
  await database.as("insights_worker", {}, async (db) => {
    const run = await db.value("select monitor.start_run('train')");
    await db.query("select monitor.fail_run($1, repeat('x', 20000))", [run]);
    await db.query("select monitor.fail_run($1, 'another')", [run]);
    expect(await db.rows(outcome, [run])).toEqual([
      { outcome: "failed", error: "x".repeat(10_000), row_count: null, in_order: true },
    ]);
  });
});

test("a run without a message has failed as well, and no other run has", async () => {
  await database.as("insights_worker", {}, async (db) => {
    const [failed, other] = [
      await db.value("select monitor.start_run('train')"),
      await db.value("select monitor.start_run('train')"),
    ];
    await db.query("select monitor.fail_run($1, null)", [failed]);
    await db.query("select monitor.fail_run(null, 'whose?')");
    expect(await db.rows(outcome, [failed])).toMatchObject([{ outcome: "failed", error: null }]);
    expect(await db.rows(outcome, [other])).toMatchObject([{ outcome: "running", error: null, in_order: null }]);
  });
});

test("is for workers and administrators", async () => {
  expect(await rolesThatMay(database, "select monitor.fail_run(1, 'x')")).toEqual(["admin", "worker"]);
});
