import { EventEmitter } from "node:events";
import {
  Logger,
  makeWorkerUtils,
  run,
  runOnce,
  type SharedOptions,
  type TaskList,
  type WorkerEvents,
} from "graphile-worker";
import type pg from "pg";
import type { Config } from "../config.ts";
import { createPool, type Database } from "../database/connect.ts";
import { checkWorkerLogin, queueSchema } from "../database/logins.ts";
import { errorCode, InsightsError } from "../errors.ts";
import { identifier } from "./define-task.ts";
import { crontab, taskList } from "./tasks.ts";

/** The running worker. */
export interface Worker {
  /** Lets the running jobs end, or stop where they may, then gives everything back. */
  close(): Promise<void>;
}

/** What tasks say, and what goes wrong; not what the queue says about itself. */
const logger = new Logger((scope) => (level, message) => {
  if (level === "error" || level === "warning") console.error(`worker: ${message}`);
  else if (level === "info" && scope.jobId !== undefined) console.log(`worker: ${message}`);
});

/** Connections that the server cuts are replaced; the statement that was on one says so itself. */
function createWorkerPool(database: Database, size: number): pg.Pool {
  const pool = createPool(database, size);
  pool.on("connect", (client) => {
    client.on("error", () => {});
    stopListening(client);
  });
  return pool;
}

/**
 * graphile-worker always listens for new jobs, beside asking for them every second, and for "worker:migrate", which ends it.
 * PostgreSQL has no right to NOTIFY: every login of the database could end the worker. Behind a pooler the LISTEN would stay
 * on a connection that others use besides.
 */
function stopListening(client: pg.PoolClient): void {
  const query = client.query as (...parameters: unknown[]) => unknown;
  client.query = ((...parameters: unknown[]) =>
    typeof parameters[0] === "string" && /^(UN)?LISTEN /.test(parameters[0])
      ? Promise.resolve({ rows: [] })
      : query.apply(client, parameters)) as typeof client.query;
}

function options(pool: pg.Pool, database: Database): SharedOptions & { taskList: TaskList } {
  return { pgPool: pool, schema: queueSchema, taskList, logger, noPreparedStatements: database.pooler };
}

/**
 * Jobs that a process had when it was killed are free again at once where nobody else can hold any; elsewhere
 * graphile-worker frees them after four hours, and the schedule queues new ones long before.
 */
async function freeJobsOfTheDead(pool: pg.Pool): Promise<void> {
  await pool.query(
    `select ${queueSchema}.force_unlock_workers(array_agg(distinct locked_by))
     from ${queueSchema}.jobs
     where locked_by is not null
     having count(*) > 0`,
  );
}

/** graphile-worker brings its tables up to date when it starts, which only the owner may. */
function sayWhenOld(error: unknown): never {
  if (errorCode(error) !== "42501") throw error;
  throw new InsightsError(
    `the job queue is older than this version: ${error instanceof Error ? error.message : error}`,
    {
      hint: "Run: insights migrate",
      cause: error,
    },
  );
}

/** The worker goes on asking while the queue can't be reached; it says so once. */
function sayWhenAway(events: WorkerEvents): void {
  let away = false;
  events.on("worker:getJob:error", ({ error }) => {
    if (!away) console.error(`worker: the queue can't be reached: ${error instanceof Error ? error.message : error}`);
    away = true;
  });
  for (const event of ["worker:getJob:empty", "job:start"] as const) {
    events.on(event, () => {
      if (away) console.error("worker: the queue can be reached again");
      away = false;
    });
  }
}

/** Works off the queue and the schedule until it is closed. */
export async function startWorker(config: Config, database: Database): Promise<Worker> {
  // One job at a time has the embedded database's one session; the pool needs a connection each, and two for the queue.
  const concurrency = database.embedded ? 1 : 2;
  const pool = createWorkerPool(database, Math.max(concurrency + 2, Math.min(config.poolSize, 5)));
  try {
    await checkWorkerLogin(pool);
    if (database.own) await freeJobsOfTheDead(pool);
    const events: WorkerEvents = new EventEmitter();
    sayWhenAway(events);
    const runner = await run({
      events,
      ...options(pool, database),
      crontab,
      concurrency,
      noHandleSignals: true,
      pollInterval: 1000,
    }).catch(sayWhenOld);
    return {
      async close() {
        await runner.stop();
        await pool.end();
      },
    };
  } catch (error) {
    await pool.end();
    throw error;
  }
}

const wanted: readonly (readonly string[])[] = [
  ["make_partitions", "refresh"],
  // Statistics first: without any, a plan may take ten times as long.
  ["vacuum", "refresh_views", "train", "train_predictions", "watch_models"],
];

/** Does everything that the schedule would do, once, and what waits in the queue. */
export async function runWorkerOnce(database: Database): Promise<void> {
  const pool = createWorkerPool(database, 4);
  const events: WorkerEvents = new EventEmitter();
  const failed: string[] = [];
  const unreachable: unknown[] = [];
  events.on("job:error", ({ job }) => failed.push(job.task_identifier));
  events.on("worker:getJob:error", ({ error }) => unreachable.push(error));
  try {
    await checkWorkerLogin(pool);
    if (database.own) await freeJobsOfTheDead(pool);
    const utils = await makeWorkerUtils({ pgPool: pool, schema: queueSchema, logger }).catch(sayWhenOld);
    try {
      for (const step of wanted) {
        for (const task of step.map(identifier)) await utils.addJob(task, {}, { jobKey: task, maxAttempts: 3 });
        await runOnce({ ...options(pool, database), events, concurrency: 1, noHandleSignals: true });
      }
    } finally {
      await utils.release();
    }
  } finally {
    await pool.end();
  }
  if (unreachable.length > 0) throw unreachable[0];
  if (failed.length > 0) {
    throw new InsightsError(`failed: ${[...new Set(failed)].join(", ")}`, {
      hint: "The table monitor.run has the errors: insights sql \"select * from monitor.run where outcome = 'failed'\"",
    });
  }
}
