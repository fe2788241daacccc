import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type pg from "pg";
import { loggableLine } from "../errors.ts";
import { packageRoot } from "../paths.ts";

/*
 * Heartbeats of a worker, for `monitor.worker`: also while it runs a long job, since they are sent on a connection that
 * no job uses. On the embedded database they wait for the end of the statement that runs, as all other clients do.
 */

const interval = 30_000;

/** Time that the last sign of a worker that stops may take. */
const longestGoodbye = 3000;

export interface Heartbeat {
  /** Records that the worker was stopped as intended. */
  stop(): Promise<void>;
}

const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };

export function startHeartbeat(pool: pg.Pool, every: number = interval): Heartbeat {
  const worker = `${hostname().slice(0, 150)}:${process.pid}:${randomBytes(3).toString("hex")}`;
  let sending: Promise<void> | undefined;
  let failing = false;

  const send = async (sql: string, values: string[]): Promise<void> => {
    const client = await pool.connect();
    try {
      await client.query("begin");
      await client.query("set local role insights_worker");
      await client.query(sql, values);
      await client.query("commit");
      client.release();
    } catch (error) {
      client.release(true);
      throw error;
    }
  };

  /** One at a time: a database that does not answer has one connection of the pool, not one for each beat. */
  const beat = (): void => {
    sending ??= send("select monitor.beat($1, $2)", [worker, version])
      .then(
        () => {
          failing = false;
        },
        (error: unknown) => {
          if (!failing) console.error(`worker: its heartbeat could not be recorded: ${loggableLine(error)}`);
          failing = true;
        },
      )
      .finally(() => {
        sending = undefined;
      });
  };

  beat();
  const timer = setInterval(beat, every).unref();
  return {
    async stop() {
      clearInterval(timer);
      const last = (sending ?? Promise.resolve()).then(() => send("select monitor.stop_worker($1)", [worker]));
      await Promise.race([last.catch(() => {}), wait(longestGoodbye, undefined, { ref: false })]);
    },
  };
}
