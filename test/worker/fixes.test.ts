import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test, vi } from "vitest";
import { runWorkerOnce } from "../../src/worker/worker.ts";
import { asDatabase } from "../support/api.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { endAtEndOfFile, insights } from "../support/insights.ts";
import { makeWorld } from "../support/world.ts";

/*
 * Each finding of `monitor.health`: its state is made, the text of its fix is read, its statements and commands are
 * executed as they stand, and the finding is gone. The others are listed with the reason.
 */

const database = await testDatabase();
vi.spyOn(console, "log").mockImplementation(() => {});
endAtEndOfFile();

interface Finding {
  health_check: string;
  subject: string;
  message: string;
  fix: string;
}

/** A finding, by check and subject, and the statements that cause it. */
interface Case {
  check: string;
  subject: string | RegExp;
  fault: string[];
}

const findings = (db: Queries): Promise<Finding[]> =>
  db.rows<Finding>("select found.* from monitor.health() as health cross join unnest(health.findings) as found");

async function find(db: Queries, { check, subject }: Case): Promise<Finding | undefined> {
  return (await findings(db)).find(
    (found) =>
      found.health_check === check &&
      (typeof subject === "string" ? found.subject === subject : subject.test(found.subject)),
  );
}

/** The statements and commands of a fix: from a colon, or the beginning, to the end of the sentence. */
function steps(fix: string): string[] {
  const verbs = "select|insert into|alter table|drop table|reindex|vacuum";
  const step = new RegExp(`(?:^|: )((?:${verbs}) .+?(?=\\. [A-Z]|\\.?$)|insights(?: [a-z]+)+(?: --[a-z]+)*)`, "g");
  return [...fix.matchAll(step)].map(([, text]) => text ?? "");
}

test("the statements and commands of a fix are found in its text", () => {
  expect(
    steps(
      "Read the error: select error from monitor.run where task = 'a. b'. Then run it: insights train. Or start a " +
        "worker: insights worker (or insights start). Compare: select f('{\"a\": 1}').",
    ),
  ).toEqual([
    "select error from monitor.run where task = 'a. b'",
    "insights train",
    "insights worker",
    "select f('{\"a\": 1}')",
  ]);
  expect(steps("vacuum (analyze) a.b. If they remain, read: select 1")).toEqual(["vacuum (analyze) a.b", "select 1"]);
  expect(steps("Delete it now: insights retention apply --yes")).toEqual(["insights retention apply --yes"]);
  expect(steps("Check the clock of the server (timedatectl).")).toEqual([]);
});

/** Executes each statement and command, and returns their number; a worker does not end, and is started by its test. */
async function execute(db: Queries, fix: string): Promise<number> {
  const all = steps(fix).filter((step) => step !== "insights worker");
  for (const step of all) {
    if (step.startsWith("insights ")) {
      const command = insights(step.split(" ").slice(1), { DATABASE_URL: database.url() });
      expect(await command.exitCode(), `${step}\n${command.output()}`).toBe(0);
    } else await db.query(step);
  }
  return all.length;
}

const month = (ahead: number): Promise<string> =>
  database.value(`select to_char((now() at time zone 'UTC') + make_interval(months => $1), '"track.event_"YYYY_MM')`, [
    ahead,
  ]);

await makeWorld(database);
await database.query("select track.rebuild()");
await runWorkerOnce(asDatabase(database));
const next = await month(1);

test("after one round of everything there is no finding", async () => {
  expect(await findings(database)).toEqual([]);
});

const project = "(select project_id from ml.project where name = 'recommend.course')";

/** Fixes of statements, each tried in a transaction of its own. */
const inTransaction: Case[] = [
  { check: "partitions", subject: next, fault: [`drop table ${next}`] },
  { check: "partitions", subject: next, fault: [`alter table track.event detach partition ${next}`] },
  {
    check: "partitions",
    subject: "track.stray",
    fault: [
      "create table track.stray partition of track.event default",
      "alter table track.stray owner to insights_owner",
      `insert into track.event (person_id, occurred_at, event_id, identity_id, event_type_id, received_at, source_id)
       select 0, moment, gen_random_uuid(), 1, 1, now(), 1
       from unnest(array['1999-01-31 23:59Z', '1999-02-01 00:00Z', '1999-05-05 12:00Z']::timestamptz[]) as moment`,
    ],
  },
  {
    check: "queue",
    subject: "train (failed)",
    fault: [
      "select insights_queue.add_job('insights:train')",
      "update insights_queue._private_jobs set attempts = max_attempts, last_error = 'cause'",
    ],
  },
  {
    check: "relevance",
    subject: "recommend.course",
    fault: [
      `insert into ml.model (project_id, version, algorithm, trained_at)
       values (${project}, 101, 'ease', now()), (${project}, 102, 'ease', now())`,
      `insert into ml.deployment (project_id, model_id, strategy)
       select project_id, model_id, 'manual' from ml.model where version in (101, 102) order by version`,
      `insert into monitor.deployment_relevance (
         deployment_id, kind, version, former_version, deployed_at, measured_at, person_count, former_person_count,
         click_rate, former_click_rate, difference, standard_error, is_corrected, evidence, verdict, worse_at
       )
       select max(deployment_id), 'course', 102, 101, now(), now(), 100, 100, 0.1, 0.2, -0.1, 0.01, false, 99, 'worse', now()
       from ml.deployment`,
    ],
  },
  {
    check: "anomalies",
    subject: "visits",
    fault: [
      `insert into analytics.trend_watch (name, bucket, zone, measure, direction, history, threshold, checked_at)
       values ('visits', 'day', 'UTC', 'events', 'both', 28, 5, date_trunc('day', now(), 'UTC'))`,
      `insert into analytics.trend_anomaly (name, bucket_start, figure, expected, lower_bound, upper_bound, score)
       values ('visits', date_trunc('day', now(), 'UTC') - interval '1 day', 99, 10, 5, 15, 20)`,
    ],
  },
  {
    check: "gone",
    subject: "no data",
    fault: [
      "select monitor.set_rule('gone', 'insights_database_bytes', threshold => 10)",
      "update monitor.rule set set_at = now() - interval '2 hours'",
      "update monitor.series set measured_at = now() - interval '2 hours'",
      "delete from monitor.sample",
      "insert into monitor.sample (sampled_at, measured) values (now() - interval '2 hours', '{}'), (now(), '{}')",
    ],
  },
];

test.for(inTransaction)("$check, $subject: the statements of the fix end it", async (problem) => {
  await database.as("postgres", {}, async (db) => {
    for (const statement of problem.fault) await db.query(statement);
    const found = await find(db, problem);
    expect(await execute(db, found?.fix ?? "no finding"), found?.fix).toBeGreaterThan(0);
    expect(await find(db, problem)).toBeUndefined();
  });
});

/** Fixes that no transaction can contain: of maintenance, and commands. */
const committed: Case[] = [
  {
    check: "tables",
    subject: "monitor.run_task_started",
    fault: ["update pg_index set indisvalid = false where indexrelid = 'monitor.run_task_started'::regclass"],
  },
  {
    check: "retention",
    subject: "",
    fault: [
      "select privacy.set_retention('runs', '1 year')",
      "update privacy.retention set set_at = now() - interval '3 days'",
      "delete from monitor.run where task = 'apply_retention'",
    ],
  },
  {
    check: "refresh",
    subject: "lag",
    fault: [
      "update monitor.run set started_at = now() - interval '1 hour' where task = 'refresh'",
      "insert into track.stale (person_id, since, until) select max(person_id), now(), now() from track.person",
    ],
  },
  {
    check: "models",
    subject: "recommend.course (marked)",
    fault: [
      `update ml.model set marked_at = now() - interval '2 days', marked_reason = 'erased'
       where model_id = (select model_id from ml.deployment order by deployment_id desc limit 1)`,
    ],
  },
];

test.for(committed)("$check, $subject: the fix ends it", { timeout: 120_000 }, async (problem, { skip }) => {
  if (!database.native) skip("commands would open the embedded database a second time");
  for (const statement of problem.fault) await database.query(statement);
  const found = await find(database, problem);
  expect(await execute(database, found?.fix ?? "no finding"), found?.fix).toBeGreaterThan(0);
  expect(await find(database, problem)).toBeUndefined();
});

test("tables, dead rows: the fix ends it", { timeout: 120_000 }, async ({ skip }) => {
  if (!database.native) skip("the embedded database counts dead rows in its session only");
  const problem = { check: "tables", subject: "monitor.run", fault: [] };
  // Autovacuum may have been there before.
  await database.query(
    `alter table monitor.run set (autovacuum_enabled = false);
     select pg_stat_reset_single_table_counters('monitor.run'::regclass)`,
  );
  await database.query("insert into monitor.run (task) select 'x' from generate_series(1, 110000)");
  // The server may otherwise report the numbers of a session late.
  await database.query("delete from monitor.run where task = 'x'; select pg_stat_force_next_flush()");
  await expect.poll(async () => await find(database, problem), { timeout: 20_000 }).toBeDefined();
  expect(await execute(database, (await find(database, problem))?.fix ?? "no finding")).toBeGreaterThan(0);
  await expect.poll(async () => await find(database, problem), { timeout: 20_000 }).toBeUndefined();
});

/** Findings that a worker ends, whose fix is to start one. */
const withoutWorker: Case[] = [
  {
    check: "worker",
    subject: "",
    fault: [
      `insert into monitor.worker (worker, started_at, seen_at, version)
       values ('killed', now() - interval '1 day', now() - interval '10 minutes', '1')`,
    ],
  },
  {
    check: "queue",
    subject: "refresh",
    fault: ["select insights_queue.add_job('insights:refresh', run_at => now() - interval '20 minutes')"],
  },
  {
    check: "queue",
    subject: "refresh (many)",
    fault: ["select insights_queue.add_job('insights:refresh') from generate_series(1, 1000)"],
  },
  {
    check: "refresh",
    subject: "lag",
    fault: [
      "insert into track.stale (person_id, since, until) select max(person_id), now(), now() from track.person",
      "update monitor.run set started_at = started_at - interval '1 hour' where task = 'refresh'",
    ],
  },
  {
    check: "requests",
    subject: "erasures",
    fault: [
      `insert into privacy.erasure (requested_at, erased_at, subject_hash, counts)
       values (now() - interval '2 days', now() - interval '2 days', sha256('x'), '{}')`,
    ],
  },
  {
    check: "notifications",
    subject: "operators: waiting",
    fault: [
      `insert into monitor.notification (channel, message_id, body, created_at, next_attempt_at)
       values ('operators', 'msg_' || repeat('0', 32), '{}', now() - interval '1 hour', now() - interval '1 hour')`,
    ],
  },
];

/** Findings while a worker runs, whose fix is a statement that queues a job for it. */
const withWorker: Case[] = [
  {
    check: "tasks",
    subject: "refresh_views (late)",
    fault: [
      "update monitor.run set started_at = now() - interval '1 day' where task = 'refresh_views'",
      "update insights_queue._private_known_crontabs set known_since = now() - interval '30 days'",
    ],
  },
  {
    check: "tasks",
    subject: "refresh_views (running)",
    fault: [
      "delete from monitor.run where task = 'refresh_views'",
      "insert into monitor.run (task, started_at) values ('refresh_views', now() - interval '13 hours')",
    ],
  },
  {
    check: "rollups",
    subject: "",
    fault: ["update track.rollup_check set checked_at = checked_at - interval '2 days'"],
  },
  {
    check: "ledger",
    subject: "age of the verification",
    fault: ["update monitor.run set started_at = started_at - interval '4 days' where task = 'verify_ledger'"],
  },
  {
    check: "ledger",
    subject: "seal",
    fault: ["update privacy.ledger set sealed_at = sealed_at - interval '3 days'"],
  },
  {
    check: "probes",
    subject: "",
    fault: [
      "update monitor.worker set started_at = started_at - interval '1 day'",
      `update monitor.probe_state
       set started_at = started_at - interval '1 hour', measured_at = measured_at - interval '1 hour'`,
    ],
  },
  {
    check: "notifications",
    subject: "operators",
    fault: [
      "update monitor.channel set failures = 3, failing_since = now() - interval '1 hour', last_error = 'was off'",
    ],
  },
];

test("a worker ends what waits for one, and runs what fixes queue", { timeout: 300_000 }, async ({ skip }) => {
  if (!database.native) skip("a worker of the embedded database is a part of its process");
  const receiver = createServer((_request, response) => response.end()).listen(0, "127.0.0.1");
  await once(receiver, "listening");
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`;
  await database.query("select monitor.set_channel('operators', $1)", [url]);

  for (const { fault } of withoutWorker) for (const statement of fault) await database.query(statement);
  for (const problem of withoutWorker) {
    const found = await find(database, problem);
    expect(steps(found?.fix ?? ""), `${problem.check}, ${problem.subject}: ${found?.fix}`).toContain("insights worker");
  }
  const worker = insights(["worker"], { DATABASE_URL: database.url(), INSIGHTS_WEBHOOK_HOSTS: "127.0.0.1" });
  try {
    for (const problem of withoutWorker) {
      await expect
        .poll(async () => (await find(database, problem))?.message, { timeout: 90_000, interval: 500 })
        .toBeUndefined();
    }
    for (const problem of withWorker) {
      for (const statement of problem.fault) await database.query(statement);
      const found = await find(database, problem);
      expect(found, `${problem.check}, ${problem.subject}`).toBeDefined();
      expect(await execute(database, found?.fix ?? ""), found?.fix).toBeGreaterThan(0);
      await expect
        .poll(async () => (await find(database, problem))?.message, { timeout: 60_000, interval: 500 })
        .toBeUndefined();
    }
  } finally {
    worker.child.kill("SIGTERM");
    await worker.exitCode();
    receiver.closeAllConnections();
    receiver.close();
  }
});

/** Findings whose fix this file does not execute, and why. */
const notExecuted: Record<string, Record<string, string>> = {
  worker: { "a worker that runs no task": "the fix ends a process and starts another, as for one that was killed" },
  tasks: { "(failed)": "the error decides what to do; the next run that succeeds ends it" },
  refresh: { queue: "it passes by itself after an import; otherwise a larger server" },
  rollups: { "a rollup that differed": "the data is repaired already, and the finding stays for a day to be read" },
  models: {
    "(old)": "as the one that is marked for training",
    "(drifted)": "whether the data or the model is wrong is a decision",
  },
  ledger: { verification: "records were changed outside of the system: what is right is known to people only" },
  requests: { "(overdue)": "a person answers requests", "(soon)": "a person answers requests" },
  wraparound: { "an old database": "needs 1000 million transactions" },
  connections: {
    "many connections": "pools are lowered in applications",
    "an open transaction": "executed in test/sql/monitor/checks/checks.test.ts, where its age is made",
    "a prepared transaction": "to commit or roll back is a decision",
  },
  replication: {
    "a slot": "executed in test/sql/monitor/checks/checks.test.ts, where its state is made",
    "a standby": "load and network of another machine; paused, in test/database/replication.test.ts",
    "a standby that is away": "started again in test/database/replication.test.ts",
    "a lag that is not visible": "executed in test/database/replication.test.ts",
  },
  clock: { "records of the future": "the clock of the machine" },
  probes: { "a probe that fails": "its function has an error, which the fix shows" },
  growth: { "a database near its limit": "a larger disk, or less data" },
  notifications: { "(undelivered)": "what was not delivered is read by people; it ends after a day" },
  rules: { "a metric out of its bounds": "whether it is expected is a decision" },
};

test("every finding of every check is executed here, or has a reason why not", async () => {
  const calls = await database.rows<{ name: string; calls: number }>(
    `select health_check as name, regexp_count(prosrc, 'monitor\\._finding\\(')::int as calls
     from monitor.health_check
     join pg_proc on pg_proc.oid = to_regproc(function_name)
     order by position`,
  );
  const executed = new Map<string, Set<string>>([["tables", new Set(["dead rows"])]]);
  for (const { check, subject } of [...inTransaction, ...committed, ...withoutWorker, ...withWorker]) {
    const name = check === "gone" ? "rules" : check;
    // A partition that is missing or detached is one finding with two fixes.
    executed.set(name, (executed.get(name) ?? new Set()).add(String(subject)));
  }
  for (const { name, calls: expected } of calls) {
    const reasons = Object.keys(notExecuted[name] ?? {});
    // "worker" has one finding for a worker that was killed, one for a worker that was stopped, and one for a clock that
    // was ahead; the fix is the same.
    const known = (executed.get(name)?.size ?? 0) + reasons.length + (name === "worker" ? 2 : 0);
    expect(known, name).toBe(expected);
  }
});
