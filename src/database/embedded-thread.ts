import { access, readdir, rename, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { errorCode } from "../errors.ts";
import { LocalEngine, type Outcome, type Run } from "./engine.ts";
import { openPglite } from "./pglite.ts";

/*
 * The thread of the embedded database: it opens the directory and executes one request after another. A long statement
 * does not block the rest of the process, and can be cancelled by terminating the thread.
 */

export interface ThreadOptions {
  directory: string;
}

export type ThreadRequest = { run: Run } | { sql: string; values: unknown[] | undefined } | "close";

export type ThreadReport =
  | { kind: "open" }
  | { kind: "unusable"; error: string; hint: string }
  | { kind: "data"; data: Uint8Array }
  | { kind: "done"; outcome: Outcome }
  | { kind: "rows"; rows: object[] }
  | { kind: "error"; error: string; code: string | undefined };

const { directory } = workerData as ThreadOptions;

function report(message: ThreadReport, moved: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, moved);
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** Free bytes that a new database requires, and that an existing one requires to start. */
const needed = { create: 100_000_000, open: 20_000_000 };

/** A new database is created under a temporary name, so that an unfinished one is never used. */
async function create(): Promise<void> {
  const draft = `${directory}.new`;
  await rm(draft, { recursive: true, force: true });
  await (await openPglite({ directory: draft })).close();
  await rename(draft, directory);
}

interface Unusable {
  error: string;
  hint: string;
}

/** Explains why a directory cannot be opened: the engine's own messages are not specific. */
async function explain(error: unknown, created: boolean): Promise<Unusable> {
  const parent = join(directory, "..");
  const { bavail, bsize } = await statfs(parent);
  const free = bavail * bsize;
  if (free < (created ? needed.create : needed.open)) {
    return {
      error: `the disk of ${parent} is full: ${Math.round(free / 1e6)} MB are free`,
      hint: "Free space on it, or set INSIGHTS_DATA_DIR to a directory on another disk. Nothing acknowledged is lost.",
    };
  }
  const code = errorCode(error);
  if (code === "EACCES" || code === "EPERM" || code === "EROFS") {
    return {
      error: `the embedded database in ${directory} cannot be opened: ${(error as Error).message}`,
      hint: "Let the user of this process read and write all files in it.",
    };
  }
  return {
    error: `the embedded database in ${directory} is damaged: it cannot be opened (${String(error).slice(0, 100)})`,
    hint: `Restore ${parent} from a backup, or move ${directory} away to start with an empty database.`,
  };
}

async function open(): Promise<Awaited<ReturnType<typeof openPglite>>> {
  const empty = !(await exists(directory)) || (await readdir(directory)).length === 0;
  try {
    if (empty) await create();
    else if (!(await exists(join(directory, "PG_VERSION")))) throw new Error("the file PG_VERSION is missing");
    return await openPglite({ directory });
  } catch (error) {
    report({ kind: "unusable", ...(await explain(error, empty)) });
    throw error;
  }
}

try {
  const database = await open();
  const engine = new LocalEngine(database);
  parentPort?.on("message", async (request: ThreadRequest) => {
    try {
      if (request === "close") {
        await database.close();
        parentPort?.close();
      } else if ("run" in request) {
        const outcome = await engine.run(request.run, (data) => {
          const copy = new Uint8Array(data);
          report({ kind: "data", data: copy }, [copy.buffer]);
        });
        report({ kind: "done", outcome });
      } else {
        report({ kind: "rows", rows: await engine.query(request.sql, request.values) });
      }
    } catch (error) {
      const code = errorCode(error);
      // The engine does not survive an internal error; the thread ends with it, and another one replaces it.
      if (request === "close" || "run" in request) throw error;
      report({ kind: "error", error: error instanceof Error ? error.message : String(error), code });
    }
  });
  report({ kind: "open" });
} catch {
  parentPort?.close();
}
