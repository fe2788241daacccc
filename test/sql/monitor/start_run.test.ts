import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("each call notes a run of its own, which is running until it is said to have ended", async () => {
  await database.as("insights_worker", {}, async (db) => {
    const [one, two] = [
      await db.value<string>("select monitor.start_run('refresh_sessions')"),
      await db.value<string>("select monitor.start_run('refresh_sessions')"),
    ];
    expect(one).not.toBe(two);
    expect(
      await db.rows(
        "select run_id, task, outcome, finished_at, error, started_at between now() and clock_timestamp() as just_now from monitor.run where run_id in ($1, $2) order by run_id",
        [one, two],
      ),
    ).toEqual(
      [one, two].map((run_id) => ({
        run_id,
        task: "refresh_sessions",
        outcome: "running",
        finished_at: null,
        error: null,
        just_now: true,
      })),
    );
  });
});

test("a run needs the name of a task", async () => {
  expect(await database.rejects("select monitor.start_run(null)")).toMatchObject({
    code: "CF001",
    message: "task is null",
  });
});

test("workers and administrators record, analysts and administrators read", async () => {
  expect(await rolesThatMay(database, "select monitor.start_run('x')")).toEqual(["admin", "worker"]);
  for (const role of ["insights_visitor", "insights_learner", "insights_analyst", "insights_admin"]) {
    await database.as(role, {}, async (db) => {
      expect(await db.rejects("delete from monitor.run")).toMatchObject({ code: "42501" });
      // Analysts read neither the number of rows nor details and errors.
      const columns = role === "insights_analyst" ? "run_id, task, started_at, finished_at, duration, outcome" : "*";
      const read = db.rows(`select ${columns} from monitor.run`);
      if (role === "insights_analyst" || role === "insights_admin") expect(await read).toEqual([]);
      else await expect(read).rejects.toMatchObject({ code: "42501" });
    });
  }
});
