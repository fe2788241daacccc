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
import { errorCode, InsightsError, loggableLine } from "../errors.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { identifier } from "./define-task.ts";
import { startHeartbeat } from "./heartbeat.ts";
import { crontab, taskList } from "./tasks.ts";

/** The running worker. */
export interface Worker {
  /** Waits for running jobs to end or stop, then releases all resources. */
  close(): Promise<void>;
}

/** Logs the messages of tasks, and errors; not the messages of the queue about itself. */
const logger = new Logger((scope) => (level, message) => {
  if (level === "error" || level === "warning") console.error(`worker: ${message}`);
  else if (level === "info" && scope.jobId !== undefined) console.log(`worker: ${message}`);
});

/** Connections that the server closes are replaced; the statement that ran on one fails by itself. */
function createWorkerPool(database: Database, size: number): pg.Pool {
  const pool = createPool(database, size);
  pool.on("connect", adaptStatements);
  const connect = pool.connect.bind(pool) as (...parameters: unknown[]) => Promise<pg.PoolClient> | undefined;
  pool.connect = ((...parameters: unknown[]) => {
    // A job that is over while the worker ends stays locked, and is unlocked as that of a killed process.
    if (pool.ending) return new Promise(() => {});
    return connect(...parameters)?.catch(toRepeat);
  }) as typeof pool.connect;
  return pool;
}

/**
 * graphile-worker does not await the statement that completes or releases a job. If it fails, as in an outage of the server,
 * the process ends, unless the error has one of a few codes, with which the statement is repeated after three seconds or more.
 */
function toRepeat(error: unknown): never {
  const message = error instanceof Error ? error.message : String(error);
  throw Object.assign(new Error(message, { cause: error }), { code: "EHOSTUNREACH" });
}

/**
 * graphile-worker always listens for new jobs, in addition to polling every second, and for "worker:migrate", which
 * ends it. PostgreSQL has no privilege for NOTIFY: every login of the database could end the worker. Behind a pooler
 * the LISTEN would remain on a connection that other clients use.
 */
function adaptStatements(client: pg.PoolClient): void {
  const query = client.query as (...parameters: unknown[]) => Promise<unknown>;
  client.query = ((...parameters: unknown[]) => {
    const [statement] = parameters;
    if (typeof statement === "string" && /^(UN)?LISTEN /.test(statement)) return Promise.resolve({ rows: [] });
    const result = query.apply(client, parameters);
    const isOfQueue = typeof statement === "object" && /_private_jobs/.test((statement as pg.QueryConfig).text);
    return isOfQueue ? result.catch(toRepeat) : result;
  }) as typeof client.query;
}

function options(pool: pg.Pool, database: Database): SharedOptions & { taskList: TaskList } {
  return { pgPool: pool, schema: queueSchema, taskList, logger, noPreparedStatements: database.pooler };
}

/**
 * Jobs of a killed process are unlocked immediately if no other process can hold any; otherwise graphile-worker unlocks
 * them after four hours, and the schedule queues new ones long before.
 */
async function unlockJobs(pool: pg.Pool): Promise<void> {
  await pool.query(
    `select ${queueSchema}.force_unlock_workers(array_agg(distinct locked_by))
     from ${queueSchema}.jobs
     where locked_by is not null
     having count(*) > 0`,
  );
}

/** graphile-worker updates its tables when it starts, which only the owner may do. */
function explainOldQueue(error: unknown): never {
  if (errorCode(error) !== "42501") throw error;
  throw new InsightsError(
    `the job queue is older than this version: ${error instanceof Error ? error.message : error}`,
    {
      hint: "Run: insights migrate",
      cause: error,
    },
  );
}

/** The worker continues to poll while the queue is unreachable; this is logged once. */
function logOutages(events: WorkerEvents): void {
  let unreachable = false;
  events.on("worker:getJob:error", ({ error }) => {
    if (!unreachable) console.error(`worker: the queue cannot be reached: ${loggableLine(error)}`);
    unreachable = true;
  });
  for (const event of ["worker:getJob:empty", "job:start"] as const) {
    events.on(event, () => {
      if (unreachable) console.error("worker: the queue can be reached again");
      unreachable = false;
    });
  }
}

/** Counts jobs by task. Jobs of other tasks than those of this version are not run. */
function measureJobs(events: WorkerEvents, metrics: Metrics): void {
  const count = metrics.ofJobs();
  const started = new Map<string, number>();
  events.on("job:start", ({ job }) => started.set(job.id, performance.now()));
  events.on("job:complete", ({ job, error }) => {
    const began = started.get(job.id);
    started.delete(job.id);
    if (began === undefined || !Object.hasOwn(taskList, job.task_identifier)) return;
    const task = job.task_identifier.replace(/^insights:/, "");
    count({ task, seconds: (performance.now() - began) / 1000, failed: error !== undefined && error !== null });
  });
}

/** Processes the queue and the schedule until it is closed. */
export async function startWorker(config: Config, database: Database, metrics?: Metrics): Promise<Worker> {
  // The embedded database has one session, so one job at a time; the pool needs a connection for each job, two for the
  // queue, and one for the heartbeats.
  const concurrency = database.embedded ? 1 : 2;
  const pool = createWorkerPool(database, Math.max(concurrency + 3, Math.min(config.poolSize, 6)));
  try {
    await checkWorkerLogin(pool);
    if (database.own) await unlockJobs(pool);
    const events: WorkerEvents = new EventEmitter();
    logOutages(events);
    if (metrics !== undefined) measureJobs(events, metrics);
    const runner = await run({
      events,
      ...options(pool, database),
      crontab,
      concurrency,
      noHandleSignals: true,
      pollInterval: 1000,
    }).catch(explainOldQueue);
    const heartbeat = startHeartbeat(pool);
    return {
      async close() {
        await runner.stop();
        await heartbeat.stop();
        await pool.end();
      },
    };
  } catch (error) {
    await pool.end();
    throw error;
  }
}

const wanted: readonly (readonly string[])[] = [
  ["make_partitions", "refresh_cohorts", "refresh_decisions", "refresh"],
  // Statistics first: without them, a plan may take ten times as long.
  ["vacuum", "erase", "refresh_views", "train", "train_predictions", "watch_models"],
  ["evaluate", "check_rollups", "pack_messages", "delete_old_runs", "delete_old_refusals", "seal", "verify_ledger"],
  ["update_bandits", "decide_experiments", "watch_relevance", "find_anomalies", "fit_clusters"],
  ["apply_retention", "thin_samples"],
  ["observe"],
  ["watch"],
  ["notify"],
];

/** Runs every scheduled task once, and the jobs that wait in the queue. */
export async function runWorkerOnce(database: Database): Promise<void> {
  const pool = createWorkerPool(database, 4);
  const events: WorkerEvents = new EventEmitter();
  const failed: string[] = [];
  const unreachable: unknown[] = [];
  events.on("job:error", ({ job }) => failed.push(job.task_identifier));
  events.on("worker:getJob:error", ({ error }) => unreachable.push(error));
  try {
    await checkWorkerLogin(pool);
    if (database.own) await unlockJobs(pool);
    const utils = await makeWorkerUtils({ pgPool: pool, schema: queueSchema, logger }).catch(explainOldQueue);
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
      hint: "The table monitor.run contains the errors: insights sql \"select * from monitor.run where outcome = 'failed'\"",
    });
  }
}
