import { randomBytes } from "node:crypto";
import { link, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { z } from "zod";
import { errorCode, InsightsError } from "../errors.ts";

/*
 * The embedded database does not detect that its directory is opened twice, and would be corrupted by it. So the
 * process that opens it records itself in a lock file, with the address of its socket.
 */

const holder = z.object({
  pid: z.number().int(),
  /**
   * Start time of the process, as the system counts it: distinguishes the process from a later one with the same
   * number.
   */
  began: z.string(),
  command: z.string(),
  /** Address of its socket, once it listens: the directory of a Unix socket or 127.0.0.1, and a port. */
  address: z.object({ host: z.string(), port: z.number().int() }).optional(),
});

export type LockHolder = z.infer<typeof holder>;
export type Address = NonNullable<LockHolder["address"]>;

/** State and start time (field 22) of /proc/<pid>/stat; empty where the system has no such file. */
async function processStat(pid: number): Promise<{ state: string; began: string }> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  const [state = "", ...fields] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { state, began: fields[18] ?? "" };
}

/** Longest time until the last thread of a killed process has ended. */
const dyingLimit = 30_000;

async function isAlive({ pid, began }: LockHolder): Promise<boolean> {
  for (const deadline = Date.now() + dyingLimit; ; await wait(20)) {
    try {
      process.kill(pid, 0);
    } catch (error) {
      if (errorCode(error) !== "EPERM") return false;
    }
    const stat = await processStat(pid);
    if (stat.began !== began) return false;
    if (stat.state !== "Z" && stat.state !== "X") return true;
    // Killed, but not yet reaped by its parent. Remaining threads may still be writing.
    const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
    if (threads.length <= 1) return false;
    if (Date.now() > deadline) return true;
  }
}

async function read(path: string): Promise<{ text: string; holder: LockHolder | undefined } | undefined> {
  try {
    const text = await readFile(path, "utf8");
    try {
      return { text, holder: holder.parse(JSON.parse(text)) };
    } catch {
      return { text, holder: undefined };
    }
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

const lockPath = (directory: string): string => join(directory, "lock");

/** The running process that holds the directory, if any. */
export async function lockHolder(directory: string): Promise<LockHolder | undefined> {
  const found = await read(lockPath(directory));
  return found?.holder !== undefined && (await isAlive(found.holder)) ? found.holder : undefined;
}

export class DirectoryInUse extends InsightsError {}

export interface Lock {
  /** Publishes the address of the socket. */
  publish(address: Address): Promise<void>;
  release(): Promise<void>;
}

/** Takes the directory for this process, also from one that was killed; fails if a running one holds it. */
export async function takeLock(directory: string, command: string): Promise<Lock> {
  const path = lockPath(directory);
  const draft = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  const self: LockHolder = { pid: process.pid, began: (await processStat(process.pid)).began, command };
  await writeFile(draft, JSON.stringify(self), { mode: 0o600 });
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        await link(draft, path);
        break;
      } catch (error) {
        if (errorCode(error) !== "EEXIST") throw error;
      }
      const found = await read(path);
      if (found === undefined) continue;
      if ((found.holder !== undefined && (await isAlive(found.holder))) || attempt > 5) {
        throw new DirectoryInUse(
          `${directory} is in use by "insights ${found.holder?.command}" (process ${found.holder?.pid})`,
          { hint: "Stop that process first, or set INSIGHTS_DATA_DIR to another directory and PORT to another port." },
        );
      }
      // Moved away, not removed: if another process has taken it in between, its lock is restored.
      const stale = `${draft}.stale`;
      await rename(path, stale).catch(() => {});
      const moved = await read(stale);
      if (moved !== undefined && moved.text !== found.text) await link(stale, path).catch(() => {});
      await rm(stale, { force: true });
    }
  } finally {
    await rm(draft, { force: true });
  }
  return {
    async publish(address) {
      await writeFile(draft, JSON.stringify({ ...self, address }), { mode: 0o600 });
      await rename(draft, path);
    },
    release: () => rm(path, { force: true }),
  };
}
