import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("a run is noted from its begin to its end, and ends once", async () => {
  await database.as("insights_worker", {}, async (db) => {
    const start = () => db.value<string>("select monitor.start_run('refresh_sessions')");
    const [good, bad, killed] = [await start(), await start(), await start()];
    await db.query("select monitor.finish_run($1, 42, '{\"views\": 7}')", [good]);
    await db.query("select monitor.fail_run($1, 'out of luck')", [bad]);
    // A finished run is not changed.
    await db.query("select monitor.fail_run($1, 'too late')", [good]);
    await db.query("select monitor.finish_run($1, 1)", [bad]);
    await db.query("select monitor.finish_run(-1, 1)");
    expect(
      await db.rows(
        "select run_id, task, outcome, row_count, detail, error, finished_at is null as open, duration >= '0' as lasted from monitor.run where run_id >= $1 order by run_id",
        [good],
      ),
    ).toEqual([
      {
        run_id: good,
        task: "refresh_sessions",
        outcome: "ok",
        row_count: "42",
        detail: { views: 7 },
        error: null,
        open: false,
        lasted: true,
      },
      {
        run_id: bad,
        task: "refresh_sessions",
        outcome: "failed",
        row_count: null,
        detail: null,
        error: "out of luck",
        open: false,
        lasted: true,
      },
      {
        run_id: killed,
        task: "refresh_sessions",
        outcome: "running",
        row_count: null,
        detail: null,
        error: null,
        open: true,
        lasted: null,
      },
    ]);
  });
});

test("a run that wrote nothing to count ends well too, no earlier than it began", async () => {
  await database.as("insights_worker", {}, async (db) => {
    const run = await db.value("select monitor.start_run('vacuum')");
    await db.query("select monitor.finish_run($1)", [run]);
    expect(
      await db.rows(
        "select outcome, row_count, detail, finished_at >= started_at as in_order, duration = finished_at - started_at as lasted from monitor.run where run_id = $1",
        [run],
      ),
    ).toEqual([{ outcome: "ok", row_count: null, detail: null, in_order: true, lasted: true }]);
  });
});

test("is for workers and administrators", async () => {
  expect(await rolesThatMay(database, "select monitor.finish_run(1)")).toEqual(["admin", "worker"]);
});
