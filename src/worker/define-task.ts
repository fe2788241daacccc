import type { Task, WithPgClient } from "graphile-worker";
import type pg from "pg";
import { z } from "zod";
import { loggable, loggableLine } from "../errors.ts";

/** The tools of a task. */
export interface Tools {
  /** One statement in one transaction of the role `insights_worker`; `limit` is its `statement_timeout`, such as "20s". */
  call<T extends object>(sql: string, values?: readonly unknown[], limit?: string): Promise<T[]>;
  /** A connection outside of any transaction, for statements that cannot run in one. */
  withClient<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T>;
  /** Whether the worker is about to stop: committed work stays, the rest is left to the next run. */
  readonly stopping: boolean;
}

/** A task's name in the queue, where an application may have tasks of its own. `monitor.run` stores the short name. */
export const identifier = (name: string): string => `insights:${name}`;

/** The result of a run, for `monitor.run` and the log. */
export interface Report {
  rows: number;
  detail?: Record<string, unknown>;
}

export interface TaskDefinition<P> {
  name: string;
  payload: z.ZodType<P>;
  /** Whether there is anything to do; without work, a run is not recorded. */
  due?: (payload: P, tools: Tools) => Promise<boolean>;
  run: (payload: P, tools: Tools) => Promise<Report>;
}

async function asWorker<T>(withPgClient: WithPgClient, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  return await withPgClient(async (client) => {
    await client.query("begin");
    try {
      await client.query("set local role insights_worker");
      const result = await work(client);
      await client.query("commit");
      return result;
    } catch (error) {
      await client.query("rollback").catch(() => {});
      throw error;
    }
  });
}

/** The error of a task as the queue logs and stores it: without data of people. */
class TaskError extends Error {
  constructor(error: unknown) {
    super(loggableLine(error));
    this.stack = loggable(error);
  }
}

/**
 * Wraps a task: validates its payload and records its run in `monitor.run`, in transactions of its own, so that a
 * killed worker leaves a record. The task runs with the rights of `insights_worker` only.
 */
export function defineTask<P>({ name, payload: schema, due, run }: TaskDefinition<P>): Task {
  return async (given, helpers) => {
    const payload = schema.parse(given ?? {});
    const tools: Tools = {
      call: (sql, values, limit) =>
        asWorker(helpers.withPgClient, async (client) => {
          if (limit !== undefined) await client.query(`set local statement_timeout to '${limit}'`);
          return (await client.query(sql, values && [...values])).rows;
        }),
      withClient: (work) => helpers.withPgClient(work),
      get stopping() {
        return helpers.abortSignal.aborted;
      },
    };
    if (due !== undefined && !(await due(payload, tools))) return;

    const begin = performance.now();
    const [started] = await tools.call<{ run_id: string }>("select monitor.start_run($1) as run_id", [name]);
    const runId = started?.run_id;
    try {
      const { rows, detail } = await run(payload, tools);
      await tools.call("select monitor.finish_run($1, $2, $3)", [
        runId,
        rows,
        detail === undefined ? null : JSON.stringify(detail),
      ]);
      const seconds = ((performance.now() - begin) / 1000).toFixed(1);
      helpers.logger.info(`${name}: ${rows} rows in ${seconds} s${beginning(detail)}`);
    } catch (error) {
      // The error of the run is reported, even if it could not be recorded.
      await tools.call("select monitor.fail_run($1, $2)", [runId, loggableLine(error)]).catch(() => {});
      throw new TaskError(error);
    }
  };
}

/** The details of a run, for a line of the log. All of them are in `monitor.run`. */
function beginning(detail: unknown): string {
  if (detail === undefined) return "";
  const written = JSON.stringify(detail);
  return written.length > 200 ? ` ${written.slice(0, 200)}…` : ` ${written}`;
}

export const emptyPayload = z.object({});
