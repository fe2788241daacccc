import { expect, test, vi } from "vitest";
import { runWorkerOnce } from "../../src/worker/worker.ts";
import { asDatabase } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { endAtEndOfFile, insights } from "../support/insights.ts";
import { makeWorld } from "../support/world.ts";

/* Stories: what goes wrong is found by `monitor.health` within one run of the worker, and named with its fix. */

const database = await testDatabase();
const target = asDatabase(database);
vi.spyOn(console, "log").mockImplementation(() => {});
endAtEndOfFile();

interface Health {
  status: string;
  summary: string;
  fix: string | null;
  problems: number;
}

const health = async (): Promise<Health> =>
  (await database.rows<Health>("select status, summary, fix, problems from monitor.health()"))[0] as Health;

await makeWorld(database);
await database.query("select track.rebuild()");

test("before its first round, the missing worker is the only problem", async () => {
  expect(await health()).toMatchObject({
    status: "warning",
    summary: "no worker is running, and none has run; changes of people wait to be refreshed",
    problems: 1,
    fix: expect.stringMatching(/^Start a worker: insights worker/),
  });
});

test("after one round of everything the installation is healthy", async () => {
  await runWorkerOnce(target);
  expect(await health()).toMatchObject({ status: "ok", problems: 0, fix: null });
  expect(await database.value("select count(*)::int from monitor.alert where resolved_at is null")).toBe(0);
});

test("a rollup that was tampered with is found by one run of its task, named, and repaired", async () => {
  const tamper =
    "update track.item_day set event_count = event_count + 1 where day = (select min(day) from track.item_day)";
  await database.query(tamper);
  await runWorkerOnce(target);
  expect(await health()).toMatchObject({
    status: "warning",
    problems: 1,
    summary: expect.stringMatching(/^track\.item_day differed from the events in \d+ of \d+ compared cells, last on /),
    fix: expect.stringContaining("where rollup = 'track.item_day' and differing > 0"),
  });
  // The watch of the same round has opened the alert.
  expect(await database.rows("select source, subject, state, owner from monitor.alert")).toEqual([
    { source: "rollups", subject: "track.item_day", state: "open", owner: "analyst" },
  ]);
  await database.query("truncate track.rollup_check");
  await runWorkerOnce(target);
  expect(await health()).toMatchObject({ status: "ok" });
});

test("a partition that is missing is found, and the next run creates it", async () => {
  const next = await database.value<string>(
    `select to_char((now() at time zone 'UTC') + interval '1 month', '"track.event_"YYYY_MM')`,
  );
  await database.query(`drop table ${next}`);
  expect(await health()).toMatchObject({
    status: "warning",
    summary: expect.stringMatching(/^track\.event has no partition for \d{4}-\d\d$/),
    fix: expect.stringMatching(/^Create it: select track\.make_partitions\(\)/),
  });
  await runWorkerOnce(target);
  expect(await health()).toMatchObject({ status: "ok" });
});

test("a queue that grows is found", async () => {
  await database.query("select insights_queue.add_job('insights:train') from generate_series(1, 1200)");
  expect(await health()).toMatchObject({
    status: "warning",
    summary: "1200 jobs of the task train are waiting",
    fix: expect.stringMatching(/^Start another worker/),
  });
  await database.query(
    "select insights_queue.complete_jobs(array_agg(id)) from insights_queue.jobs where task_identifier = 'insights:train'",
  );
  expect(await health()).toMatchObject({ status: "ok" });
});

test("a worker that is killed is found; one that is stopped or replaced is not", async ({ skip }) => {
  if (!database.native) skip("a worker of the embedded database is a part of its process");
  const start = async (): Promise<ReturnType<typeof insights>> => {
    const worker = insights(["worker"], { DATABASE_URL: database.url() });
    const rows = await database.value<number>("select count(*)::int from monitor.worker");
    await expect
      .poll(() => database.value("select count(*)::int from monitor.worker"), { timeout: 30_000 })
      .toBe((rows ?? 0) + 1);
    return worker;
  };
  const later = (): Promise<unknown> =>
    database.query("update monitor.worker set seen_at = seen_at - interval '10 minutes' where stopped_at is null");

  const killed = await start();
  killed.child.kill("SIGKILL");
  await killed.exitCode();
  expect(await health()).toMatchObject({ status: "ok" });
  await later();
  const found = await health();
  expect(found).toMatchObject({
    status: "critical",
    problems: 1,
    fix: expect.stringMatching(/^Start a worker: insights worker/),
  });
  expect(found.summary).toMatch(
    /^no worker is running: .+ sent its last heartbeat 1\d minutes ago, and was not stopped$/,
  );

  const next = await start();
  expect(await health()).toMatchObject({ status: "ok" });
  next.child.kill("SIGTERM");
  await next.exitCode();
  expect(await health()).toMatchObject({ status: "ok" });
});

test("a worker that sends heartbeats and runs nothing is found", async () => {
  await database.query(`
    truncate monitor.worker, monitor.run;
    insert into monitor.worker (worker, started_at, seen_at, version)
    values ('here:1:a', now() - interval '1 hour', now(), '1')`);
  expect(await health()).toMatchObject({
    status: "critical",
    summary: "a worker sends heartbeats, but no task has run for 60 minutes",
    fix: expect.stringMatching(/^Restart the worker/),
  });
  // On the embedded database a long task keeps the others waiting.
  const run = await database.value("select monitor.start_run('train')");
  await database.query("update monitor.run set started_at = now() - interval '30 minutes' where run_id = $1", [run]);
  expect(await health()).toMatchObject({ status: "ok" });
});
