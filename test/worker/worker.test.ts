import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as wait } from "node:timers/promises";
import { parseCrontab } from "graphile-worker";
import { afterEach, describe, expect, test, vi } from "vitest";
import { readConfig } from "../../src/config.ts";
import { crontab, taskList } from "../../src/worker/tasks.ts";
import { runWorkerOnce, startWorker } from "../../src/worker/worker.ts";
import { asDatabase } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { openLink } from "../support/link.ts";
import { learners, makeWorld } from "../support/world.ts";

const database = await testDatabase();
const target = asDatabase(database);
vi.spyOn(console, "log").mockImplementation(() => {});

interface Run {
  task: string;
  outcome: string;
  row_count: string | null;
  detail: { trained?: { version: number }[]; steps?: Record<string, { people: number }> } | null;
  error: string | null;
  timed: boolean;
}

const runs = (): Promise<Run[]> =>
  database.rows<Run>(
    "select task, outcome, row_count, detail, error, duration is not null as timed from monitor.run order by run_id",
  );

const ingest = (person: string, id: string, event = "Course Enrolled", item = "course-poetry"): Promise<unknown> =>
  database.query("select track.ingest($1)", [
    JSON.stringify([{ type: "track", messageId: id, userId: person, event, properties: { item } }]),
  ]);

afterEach(async () => {
  await database.query("truncate monitor.run");
});

test("each line of the crontab is a task with an id of its own and a job key", () => {
  const items = parseCrontab(crontab);
  expect(items.map(({ task }) => task).filter((task) => !(task in taskList))).toEqual([]);
  expect(new Set(items.map(({ identifier }) => identifier)).size).toBe(items.length);
  expect(items.filter(({ options }) => !options.jobKey)).toEqual([]);
});

describe("one round of everything", async () => {
  await makeWorld(database);

  test("runs every task and records each run with its count and time", async () => {
    // As the events arrive, before anything is refreshed.
    await database.query("select track.rebuild()");
    await runWorkerOnce(target);

    const done = await runs();
    expect(done.every(({ outcome, timed }) => outcome === "ok" && timed)).toBe(true);
    // On the embedded database, statistics are updated before the tasks that need them.
    expect(
      done
        .map(({ task }) => task)
        .filter((task) => task !== "vacuum")
        .slice(0, 5),
    ).toEqual(["make_partitions", "refresh_cohorts", "refresh_decisions", "refresh", "refresh_views"]);
    const count = (task: string): number => Number(done.find((run) => run.task === task)?.row_count);
    const people = await database.value<number>("select count(*)::int from track.person where person_id <> 0");
    expect(count("refresh")).toBe(people);
    const { steps } = done.find(({ task }) => task === "refresh")?.detail ?? {};
    expect(Object.entries(steps ?? {}).map(([step, refreshed]) => [step, refreshed.people])).toEqual([
      ["track.name", 0],
      ["track.session", people],
      ["track.property", 0],
      ["analytics.cohort", people],
      ["track.person_set", people],
      ["recommend.learned", people],
      ["experiment.exposure", people],
      ["recommend.impression", people],
      ["recommend.interaction", people],
    ]);
    expect(await database.value("select count(*)::int from track.stale")).toBe(0);
    expect(await database.value("select count(*)::int from track.changed")).toBe(0);

    const trained = done.find(({ task }) => task === "train");
    expect(trained?.detail?.trained).toMatchObject([{ version: 1 }]);
    // Eleven learners, two courses each but ada.
    expect(Number(trained?.row_count)).toBe(learners.length * 2 - 1);
    expect(done.some(({ task }) => task === "vacuum")).toBe(!database.native);
  });

  test("again, without new events, there is no refresh and no training", async () => {
    await runWorkerOnce(target);
    // Observed again only if a minute has passed.
    expect((await runs()).map(({ task }) => task).filter((task) => !["vacuum", "observe"].includes(task))).toEqual([
      "make_partitions",
      "refresh_cohorts",
      "refresh_decisions",
      "refresh_views",
      "check_rollups",
      "pack_messages",
      "delete_old_runs",
      "delete_old_refusals",
      "verify_ledger",
      "thin_samples",
      "watch",
    ]);
  });

  test("trains again for a tenth of new interactions, not for less", async () => {
    await ingest("ada", "new-1");
    await runWorkerOnce(target);
    expect((await runs()).map(({ task }) => task)).not.toContain("train");
    // 21 interactions were learned from: three are a tenth.
    await ingest("cleo", "new-2");
    await ingest("eve", "new-3");
    await runWorkerOnce(target);
    expect((await runs()).find(({ task }) => task === "train")?.detail?.trained).toMatchObject([{ version: 2 }]);
  });

  test("applies a change of names that was left to the refresh", async () => {
    await database.query("select track.rename_event('Course Enrolled', 'Enrolled', most_events => 0)");
    const named = "select count(*)::int from track.event where named_event_type_id is not null";
    expect(await database.value(named)).toBe(0);
    await runWorkerOnce(target);
    const { steps } = (await runs()).find(({ task }) => task === "refresh")?.detail ?? {};
    expect(steps?.["track.name"]?.people).toBeGreaterThan(0);
    expect(await database.value(named)).toBe(steps?.["track.name"]?.people);
    expect(await database.value("select count(*)::int from track.renamed_month")).toBe(0);
  });

  test("compares rollups with the events, and repairs them", async () => {
    const check = async (): Promise<Run | undefined> => {
      await database.query("truncate monitor.run");
      await database.query("select insights_queue.add_job('insights:check_rollups', '{\"checks\": 40}')");
      await runWorkerOnce(target);
      return (await runs()).find(({ task }) => task === "check_rollups");
    };
    expect(await check()).toMatchObject({ outcome: "ok", detail: { differing: 0 } });
    await database.query("update track.presence set event_count = event_count + 1");
    const cells = await database.value("select count(*)::int from track.presence");
    const found = await check();
    expect(found).toMatchObject({ outcome: "ok", detail: { differing: cells } });
    expect(Number(found?.row_count)).toBeGreaterThan(Number(cells));
    expect(await check()).toMatchObject({ detail: { differing: 0 } });
  });

  test("a task has the rights of insights_worker and no more", async () => {
    await database.query("revoke execute on function analytics.refresh_views() from insights_worker");
    vi.spyOn(console, "error").mockImplementation(() => {});
    await expect(runWorkerOnce(target)).rejects.toThrow("failed: insights:refresh_views");
    await database.query("grant execute on function analytics.refresh_views() to insights_worker");
    expect((await runs()).find(({ task }) => task === "refresh_views")).toMatchObject({
      outcome: "failed",
      error: expect.stringMatching(/permission denied.*42501/),
      timed: true,
    });
    await database.query("select insights_queue.remove_job('insights:refresh_views')");
  });

  test("a step of the refresh that fails does not block those after it", async () => {
    await database.query(`
      create function public.broken(people bigint[], since timestamptz[], until timestamptz[]) returns void
      language plpgsql as $$ begin raise exception 'out of order'; end $$;
      insert into track.consumer values ('test.broken', -1, 'public.broken', '{event}', 'A test.')`);
    await ingest("hana", "while one is broken");
    vi.spyOn(console, "error").mockImplementation(() => {});
    await expect(runWorkerOnce(target)).rejects.toThrow("failed: insights:refresh");
    expect((await runs()).find(({ task }) => task === "refresh")).toMatchObject({
      outcome: "failed",
      error: "failed: test.broken: out of order [P0001]",
    });
    expect(
      await database.value(
        "select count(*)::int from recommend.interaction where person_id = track.find_person('hana')",
      ),
    ).toBe(1);
    expect(await database.rows("select consumer from track.changed")).toEqual([{ consumer: "test.broken" }]);
    await database.query(`
      delete from track.consumer where consumer = 'test.broken';
      delete from track.changed where consumer = 'test.broken';
      drop function public.broken`);
    await database.query("delete from insights_queue._private_jobs");
  });

  test("applies the rules of retention, and reports what was deleted by rule", async () => {
    await database.query("insert into track.event_type (name, purpose) values ('Ad Seen', 'service')");
    await database.query("select track.ingest($1)", [
      JSON.stringify(
        [1, 60, 61].map((days) => ({
          type: "track",
          messageId: `ad-${days}`,
          userId: "ada",
          event: "Ad Seen",
          timestamp: new Date(Date.now() - days * 86_400_000).toISOString(),
        })),
      ),
    ]);
    await runWorkerOnce(target);
    expect((await runs()).map(({ task }) => task)).not.toContain("apply_retention");
    await database.query("select privacy.set_retention('events', '30 days', 'service')");
    await database.query("truncate monitor.run");
    await runWorkerOnce(target);
    expect((await runs()).find(({ task }) => task === "apply_retention")).toMatchObject({
      outcome: "ok",
      row_count: "2",
      detail: { deleted: { "events/service": 2 }, partitions: [] },
    });
    await database.query("truncate monitor.run");
    await database.query("update privacy.retention_clock set applied_at = now() + interval '1 day'");
    await expect(runWorkerOnce(target)).rejects.toThrow("failed: insights:apply_retention");
    expect((await runs()).find(({ task }) => task === "apply_retention")).toMatchObject({
      outcome: "failed",
      error: expect.stringContaining("the clock of the server is"),
    });
    await database.query("update privacy.retention_clock set applied_at = now()");
    await database.query("select privacy.drop_retention('events', 'service')");
  });

  test("packs messages until no step is scheduled", async () => {
    const recent = await database.value<number>("select count(*)::int from track.message");
    await database.query("update track.message_packing set cycle_started_at = now() - interval '8 days'");
    await database.query("select insights_queue.add_job('insights:pack_messages')");
    await runWorkerOnce(target);
    // A whole cycle, and the first step of the next one.
    expect(await database.value("select step::int from track.message_packing")).toBe(257);
    expect(await database.value("select count(*)::int from track.message")).toBe(0);
    expect((await runs()).find(({ task }) => task === "pack_messages")).toMatchObject({
      outcome: "ok",
      row_count: String(recent),
    });
  });

  test("an invalid payload fails without a run", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    await database.query(
      `select insights_queue.add_job('insights:refresh', '{"most_people": "all"}', max_attempts => 1)`,
    );
    await expect(runWorkerOnce(target)).rejects.toThrow("failed: insights:refresh");
    await database.query("delete from insights_queue._private_jobs");
  });
});

test("jobs of a key do not accumulate", async () => {
  for (let round = 0; round < 5; round++) {
    await database.query("select insights_queue.add_job('insights:refresh', job_key => 'insights:refresh')");
  }
  expect(await database.value("select count(*)::int from insights_queue.jobs")).toBe(1);
  await database.query("delete from insights_queue._private_jobs");
});

test("the running worker processes jobs as they arrive, and stops on request", async () => {
  const worker = await startWorker(readConfig({}), target);
  try {
    await ingest("ben", "while it runs");
    await database.query("select insights_queue.add_job('insights:refresh', job_key => 'insights:refresh')");
    await vi.waitFor(
      async () => {
        expect((await runs()).filter(({ outcome }) => outcome === "ok").map(({ task }) => task)).toEqual(
          expect.arrayContaining(["refresh"]),
        );
      },
      { timeout: 60_000, interval: 200 },
    );
  } finally {
    await worker.close();
  }
  expect(await database.value("select count(*)::int from track.stale")).toBe(0);
  expect(await database.value("select count(*)::int from insights_queue.jobs where locked_at is not null")).toBe(0);
});

// On the embedded database the lock that blocks the run would block all clients.
test.skipIf(!database.native)(
  "killed in the middle of a run, it continues at the next start (needs parallel sessions)",
  async () => {
    await ingest("dan", "before the kill");
    await ingest("fay", "before the kill too");
    const holder = await database.pool.connect();
    let worker: ReturnType<typeof spawn> | undefined;
    let left: number[] = [];
    try {
      // The refresh waits for this, in the middle of its run.
      await holder.query("begin");
      await holder.query("lock table track.session in access exclusive mode");
      worker = spawn(process.execPath, ["src/cli.ts", "worker", "--once"], {
        env: { ...process.env, DATABASE_URL: database.url() },
        stdio: "ignore",
      });
      await vi.waitFor(
        async () => {
          expect(
            await database.value(
              "select count(*)::int from pg_locks where relation = 'track.session'::regclass and not granted",
            ),
          ).toBe(1);
        },
        { timeout: 60_000, interval: 100 },
      );
      left = (
        await database.rows<{ pid: number }>(
          "select pid from pg_stat_activity where datname = current_database() and application_name = 'canvas-flow-insights'",
        )
      ).map(({ pid }) => pid);
      expect(left.length).toBeGreaterThan(0);
      const exited = once(worker, "exit");
      worker.kill("SIGKILL");
      await exited;
    } finally {
      worker?.kill("SIGKILL");
      await holder.query("rollback");
      holder.release();
    }
    // The server finishes or rolls back the statement of the killed client.
    await vi.waitFor(
      async () => {
        expect(await database.value("select count(*)::int from pg_stat_activity where pid = any ($1)", [left])).toBe(0);
      },
      { timeout: 60_000, interval: 100 },
    );

    // The killed run stays `running`, and its job does not block the next one.
    expect((await runs()).filter(({ task }) => task === "refresh")).toMatchObject([{ outcome: "running" }]);
    await runWorkerOnce(target);
    expect((await runs()).filter(({ task }) => task === "refresh").map(({ outcome }) => outcome)).toEqual([
      "running",
      "ok",
    ]);
    expect(await database.value("select count(*)::int from track.stale")).toBe(0);

    const before = await database.rows("select * from track.session order by person_id, session_id");
    await database.query("select track.rebuild()");
    await runWorkerOnce(target);
    expect(await database.rows("select * from track.session order by person_id, session_id")).toEqual(before);
  },
);

test.skipIf(!database.native)(
  "an outage at the end of a job ends neither the worker nor the lock of the job (needs parallel sessions)",
  async () => {
    const url = new URL(database.url());
    const link = await openLink(Number(url.port));
    url.port = String(link.port);
    const lines: string[] = [];
    const worker = spawn(process.execPath, ["src/cli.ts", "worker"], {
      env: { ...process.env, DATABASE_URL: url.href },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [worker.stdout, worker.stderr]) stream.on("data", (data) => lines.push(String(data)));
    const holder = await database.pool.connect();
    const until = (sql: string): Promise<void> =>
      vi.waitFor(async () => expect(await database.value(sql)).toBe(true), { timeout: 60_000, interval: 100 });
    try {
      // The job waits for this at its beginning.
      await holder.query("begin");
      await holder.query("lock table monitor.run in access exclusive mode");
      await database.query("select insights_queue.add_job('insights:verify_ledger', job_key => 'outage')");
      await until("select count(*) > 0 from pg_locks where relation = 'monitor.run'::regclass and not granted");
      await link.cut(2000);
      await holder.query("rollback");
      await until(
        "select count(*) = 0 from insights_queue._private_jobs where key = 'outage' and locked_at is not null",
      );
      expect(worker.exitCode, lines.join("")).toBeNull();
      expect(lines.join("")).toMatch(/Failed task \d+ \(insights:verify_ledger/);
    } finally {
      await holder.query("rollback");
      holder.release();
      if (worker.kill("SIGTERM")) await once(worker, "exit");
      link.close();
    }
  },
);

test("locks of a killed process on the embedded database are removed by the next process that opens it", async () => {
  await database.query("select insights_queue.add_job('insights:refresh', job_key => 'insights:refresh')");
  await ingest("gus", "locked");
  await database.query("update insights_queue._private_jobs set locked_at = now(), locked_by = 'dead', attempts = 1");
  const worker = await startWorker(readConfig({}), { ...target, own: true });
  try {
    await vi.waitFor(async () => expect(await database.value("select count(*)::int from track.stale")).toBe(0), {
      timeout: 60_000,
      interval: 200,
    });
  } finally {
    await worker.close();
  }
});

test.skipIf(!database.native)(
  "no login of the database ends the worker by a notification (needs parallel sessions)",
  async () => {
    const worker = await startWorker(readConfig({}), target);
    try {
      // Time enough to listen, were it to.
      await wait(1000);
      // PostgreSQL lets every login notify on any channel.
      await database.query(
        `begin; set local role insights_visitor;
         select pg_notify('worker:migrate', '{"migrationNumber": 1000, "breaking": true}'); commit`,
      );
      await wait(1000);
      await ingest("kim", "after the notification");
      await database.query("select insights_queue.add_job('insights:refresh', job_key => 'insights:refresh')");
      await vi.waitFor(async () => expect(await database.value("select count(*)::int from track.stale")).toBe(0), {
        timeout: 60_000,
        interval: 200,
      });
    } finally {
      await worker.close();
    }
  },
);
