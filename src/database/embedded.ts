import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { errorCode, InsightsError } from "../errors.ts";
import { moduleEnding } from "../paths.ts";
import type { ThreadOptions, ThreadReport } from "./embedded-thread.ts";
import { lockHolder, takeLock } from "./lock.ts";

/** The embedded database, served on a socket of 127.0.0.1. */
export interface EmbeddedDatabase {
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

export interface EmbeddedOptions {
  dataDirectory: string;
  /** What the lock says to others: the command that holds the database. */
  command: string;
  port?: number;
  /** Called when the database ends by itself; nothing that was acknowledged is lost. */
  onFailure?: (error: Error) => void;
}

/** Codes of a directory that can not be made or written in. */
const unusable = new Set(["EACCES", "EEXIST", "ENOENT", "ENOSPC", "ENOTDIR", "EPERM", "EROFS"]);

const urlOf = (port: number): string => `postgres://postgres@127.0.0.1:${port}/postgres`;

/**
 * Opens the embedded database of a data directory, which nobody else may have open. It runs on a thread of its own, so
 * that a long statement does not hold up the rest of the process.
 */
export async function openEmbedded({
  dataDirectory,
  command,
  port = 0,
  onFailure,
}: EmbeddedOptions): Promise<EmbeddedDatabase> {
  const lock = await mkdir(dataDirectory, { recursive: true })
    .then(() => takeLock(dataDirectory, command))
    .catch((error: unknown) => {
      if (!unusable.has(errorCode(error) ?? "")) throw error;
      throw new InsightsError(`the embedded database can not be kept in ${dataDirectory}: ${String(error)}`, {
        hint: "Set INSIGHTS_DATA_DIR to a directory that you may write in.",
        cause: error,
      });
    });
  try {
    const options: ThreadOptions = { directory: join(dataDirectory, "database"), port };
    const thread = new Worker(new URL(`embedded-thread${moduleEnding}`, import.meta.url), {
      workerData: options,
      // Not those of the process: some of them, such as --input-type, are not for files.
      execArgv: [],
    });
    let closing = false;
    const bound = await new Promise<number>((resolve, reject) => {
      thread.on("message", (report: ThreadReport) => {
        if ("port" in report) resolve(report.port);
        else reject(new InsightsError(report.error, { hint: report.hint }));
      });
      thread.on("error", reject);
      thread.on("exit", () => {
        const error = new Error("the embedded database has ended");
        reject(error);
        if (!closing) onFailure?.(error);
      });
    });
    await lock.publish(bound);
    return {
      url: urlOf(bound),
      port: bound,
      async close() {
        if (closing) return;
        closing = true;
        const exited = new Promise((resolve) => thread.once("exit", resolve));
        thread.postMessage("close");
        await exited;
        await lock.release();
      },
    };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** The running database of a data directory, when a process has it open; waits while that process starts. */
export async function findEmbedded(dataDirectory: string): Promise<{ url: string } | undefined> {
  for (const deadline = Date.now() + 30_000; ; await wait(100)) {
    const holder = await lockHolder(dataDirectory);
    if (holder === undefined) return undefined;
    if (holder.port !== undefined) return { url: urlOf(holder.port) };
    if (Date.now() > deadline) {
      throw new InsightsError(`"insights ${holder.command}" (process ${holder.pid}) does not come up`, {
        hint: `Stop it and look at what it said; it holds ${dataDirectory}.`,
      });
    }
  }
}
