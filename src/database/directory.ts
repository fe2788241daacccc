import { createHash, randomBytes } from "node:crypto";
import { chmod, lstat, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { errorCode, InsightsError } from "../errors.ts";

/*
 * The data directory belongs to one user of the machine, and nobody else enters it: that is what guards the embedded
 * database, its socket and the keys.
 */

/** Codes of a directory that cannot be made or written in. */
const unusable = new Set([
  "EACCES",
  "EEXIST",
  "ENOENT",
  "ENOSPC",
  "ENOTDIR",
  "EPERM",
  "EROFS",
  "ELOOP",
  "ENAMETOOLONG",
]);

/** What may lie in a data directory. One that holds other things is not closed to others without being asked. */
const ours = /^(?:database(?:\.new|-password)?|jwt-secret|lock(?:\..*)?|\.s\.PGSQL\..*)$/;

/** Others may read, write or enter it. */
const openToOthers = 0o077;

/** `mkdir` with `recursive` never ends where nothing can be made, as below /proc. */
async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    const code = errorCode(error);
    if (code === "EEXIST") return;
    if (code !== "ENOENT" || dirname(path) === path) throw error;
    await makeParent(dirname(path));
    await mkdir(path, { mode: 0o700 });
  }
}

async function makeParent(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const code = errorCode(error);
    if (code === "EEXIST") return;
    if (code !== "ENOENT" || dirname(path) === path) throw error;
    await makeParent(dirname(path));
    await mkdir(path);
  }
}

/** Refuses a directory that others own or may enter, once it cannot be closed to them. Windows has rights of another kind. */
async function closeToOthers(path: string, hint: string): Promise<void> {
  const owner = process.getuid?.();
  if (owner === undefined) return;
  const { uid, mode } = await lstat(path);
  if (uid !== owner) {
    throw new InsightsError(`${path} belongs to another user (uid ${uid}; this process runs as ${owner})`, { hint });
  }
  if ((mode & openToOthers) === 0) return;
  await chmod(path, 0o700);
  if (((await lstat(path)).mode & openToOthers) !== 0) {
    throw new InsightsError(`${path} can be read by others, and its file system keeps no rights`, { hint });
  }
}

/** The data directory: made where it is missing, and closed to others. */
export async function privateDirectory(path: string): Promise<void> {
  const hint = "Set INSIGHTS_DATA_DIR to a directory of your own, which others may not enter (chmod 700).";
  try {
    await makeDirectory(path);
    const open = ((await lstat(path)).mode & openToOthers) !== 0 && process.platform !== "win32";
    const foreign = open ? (await readdir(path)).find((name) => !ours.test(name)) : undefined;
    if (foreign !== undefined) {
      throw new InsightsError(`others may read ${path}, which also holds other things, such as "${foreign}"`, { hint });
    }
    await closeToOthers(path, hint);
  } catch (error) {
    if (!unusable.has(errorCode(error) ?? "")) throw error;
    throw new InsightsError(`the embedded database cannot be kept in ${path}: ${String(error)}`, {
      hint: "Set INSIGHTS_DATA_DIR to a directory that you may write in.",
      cause: error,
    });
  }
}

/** Takes the rights of others from every file: the engine makes them for all, whatever the umask says. */
export async function sweep(path: string): Promise<void> {
  if (process.platform === "win32") return;
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() && !entry.isDirectory()) continue;
    const name = join(entry.parentPath, entry.name);
    try {
      if (((await lstat(name)).mode & openToOthers) !== 0) await chmod(name, entry.isFile() ? 0o600 : 0o700);
    } catch (error) {
      // Files come and go while the database works.
      if (errorCode(error) !== "ENOENT") throw error;
    }
  }
}

/** A secret that is made once, and kept in the data directory for its owner alone. */
export async function keptSecret(directory: string, name: string): Promise<string> {
  await privateDirectory(directory);
  const path = join(directory, name);
  try {
    const secret = randomBytes(32).toString("base64url");
    await writeFile(path, `${secret}\n`, { flag: "wx", mode: 0o600 });
    return secret;
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
    await chmod(path, 0o600);
    return (await readFile(path, "utf8")).trim();
  }
}

/** Bytes of the longest path that a Unix socket can have. */
const longestSocket = 107;

/** The port that is no port, but part of the name that clients give the socket in a directory. */
export const socketPort = 5432;

export const socketPath = (folder: string): string => join(folder, `.s.PGSQL.${socketPort}`);

const fits = (folder: string): boolean => Buffer.byteLength(socketPath(folder)) <= longestSocket;

/** Where the socket of a data directory lies: in it, or, when its path is too long for one, in the runtime directory. */
export async function socketFolder(dataDirectory: string): Promise<string> {
  if (fits(dataDirectory)) return dataDirectory;
  const base = join(process.env["XDG_RUNTIME_DIR"] || tmpdir(), `insights-${process.getuid?.() ?? 0}`);
  const folder = join(base, createHash("sha256").update(dataDirectory).digest("hex").slice(0, 16));
  const hint = "Set INSIGHTS_DATA_DIR to a shorter path, or XDG_RUNTIME_DIR to a directory of your own.";
  if (!fits(folder)) throw new InsightsError(`the path of a socket in ${folder} is too long`, { hint });
  for (const path of [base, folder]) {
    await makeDirectory(path);
    // Anybody may have made it before in a directory for all, as a link too.
    if (!(await lstat(path)).isDirectory()) throw new InsightsError(`${path} is not a directory`, { hint });
    await closeToOthers(path, hint);
  }
  return folder;
}

/** Whether somebody listens on a socket. */
export async function answers(address: { path: string } | { host: string; port: number }): Promise<boolean> {
  return await new Promise((resolve) => {
    const attempt = connect(address, () => {
      attempt.destroy();
      resolve(true);
    });
    attempt.on("error", () => resolve(false));
  });
}

/** Removes what a killed process has left of its socket. */
export async function freeSocket(path: string): Promise<void> {
  if (await answers({ path })) {
    throw new InsightsError(`the socket ${path} is in use by another process`, {
      hint: "End that process, or set INSIGHTS_DATA_DIR to another directory.",
    });
  }
  await rm(path, { force: true });
}
