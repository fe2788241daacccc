import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();

test("a run is noted from its begin to its end, and ends once", async () => {
  await database.as("insights_worker", {}, async (db) => {
    const start = () => db.value<string>("select monitor.start_run('refresh_sessions')");
    const [good, bad, killed] = [await start(), await start(), await start()];
    await db.query("select monitor.finish_run($1, 42, '{\"views\": 7}')", [good]);
    await db.query("select monitor.fail_run($1, 'out of luck')", [bad]);
    // What has ended stays ended.
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

test("only workers write, analysts and admins read", async () => {
  for (const role of ["insights_visitor", "insights_learner", "insights_analyst", "insights_admin"]) {
    await database.as(role, {}, async (db) => {
      expect(await db.rejects("select monitor.start_run('x')")).toMatchObject({ code: "42501" });
      expect(await db.rejects("delete from monitor.run")).toMatchObject({ code: "42501" });
      const read = db.rows("select * from monitor.run");
      if (role === "insights_analyst" || role === "insights_admin") expect(await read).toEqual([]);
      else await expect(read).rejects.toMatchObject({ code: "42501" });
    });
  }
});
