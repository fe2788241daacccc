import type { Task, WithPgClient } from "graphile-worker";
import type pg from "pg";
import { z } from "zod";
import { errorCode } from "../errors.ts";

/** What a task works with. */
export interface Tools {
  /** One statement in one transaction of the role `insights_worker`. */
  call<T extends object>(sql: string, values?: readonly unknown[]): Promise<T[]>;
  /** A connection outside of any transaction, for statements that allow none. */
  withClient<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T>;
  /** Queues another task, unless it is queued already. */
  next(task: string): Promise<void>;
  /** Whether the worker is about to stop: what is committed stays, the rest is for the next run. */
  readonly stopping: boolean;
}

/** A task's name in the queue, where an application may have tasks of its own. `monitor.run` has the name alone. */
export const identifier = (name: string): string => `insights:${name}`;

/** What a run did, for `monitor.run` and the log. */
export interface Report {
  rows: number;
  detail?: Record<string, unknown>;
}

export interface TaskDefinition<P> {
  name: string;
  payload: z.ZodType<P>;
  /** Whether there is anything to do; a run that has nothing is not recorded. */
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

/**
 * Wraps a task: its payload is checked, its run recorded in `monitor.run` in transactions of its own, so that a worker
 * that is killed leaves a trace, and it does everything with the rights of `insights_worker` only.
 */
export function defineTask<P>({ name, payload: schema, due, run }: TaskDefinition<P>): Task {
  return async (given, helpers) => {
    const payload = schema.parse(given ?? {});
    const tools: Tools = {
      call: (sql, values) =>
        asWorker(helpers.withPgClient, async (client) => (await client.query(sql, values && [...values])).rows),
      withClient: (work) => helpers.withPgClient(work),
      next: async (task) => {
        await helpers.addJob(identifier(task), {}, { jobKey: identifier(task), maxAttempts: 3 });
      },
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
      helpers.logger.info(
        `${name}: ${rows} rows in ${seconds} s${detail === undefined ? "" : ` ${JSON.stringify(detail)}`}`,
      );
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const code = errorCode(error);
      // The error of the run matters, not that it could not be recorded.
      await tools
        .call("select monitor.fail_run($1, $2)", [runId, code === undefined ? message : `${message} [${code}]`])
        .catch(() => {});
      throw error;
    }
  };
}

/** People that one statement works off: the embedded database has one session, for which everybody else waits. */
const portion = { native: 2000, embedded: 50 };

/** Calls a function that works off some people at a time, until nobody is left or the worker stops. */
export async function workOff(
  tools: Tools,
  call: (mostPeople: number) => string,
  mostPeople?: number,
): Promise<{ people: number; calls: number; left: boolean }> {
  const [server] = await tools.call<{ embedded: boolean }>("select version() like '%wasm%' as embedded");
  const statement = `select people::int from ${call(mostPeople ?? portion[server?.embedded === true ? "embedded" : "native"])}`;
  for (let people = 0, calls = 0; ; calls++) {
    const [row] = await tools.call<{ people: number }>(statement);
    const count = row?.people ?? 0;
    people += count;
    if (count === 0 || tools.stopping) return { people, calls, left: count > 0 };
  }
}

export const nothing = z.object({});
