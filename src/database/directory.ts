import { createHash, randomBytes } from "node:crypto";
import { chmod, lstat, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { errorCode, InsightsError } from "../errors.ts";

/*
 * The data directory belongs to one user of the machine and is closed to all others: this protects the embedded
 * database, its socket and the keys.
 */

/** Error codes of a directory that cannot be created or written to. */
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

/**
 * Names that may exist in a data directory. A directory that contains others is not closed without the user's consent.
 */
const ours = /^(?:database(?:\.new|-password)?|(?:jwt|cookie)-secret|lock(?:\..*)?|\.s\.PGSQL\..*)$/;

/** Permission bits of other users. */
const openToOthers = 0o077;

/** `mkdir` with `recursive` does not return where a directory cannot be created, as below /proc. */
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

/**
 * Refuses a directory that other users own or may enter, if it cannot be closed to them. Windows has another kind of
 * permissions.
 */
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
    throw new InsightsError(`${path} can be read by other users, and its file system does not support permissions`, {
      hint,
    });
  }
}

/** The data directory: created if it is missing, and closed to other users. */
export async function privateDirectory(path: string): Promise<void> {
  const hint = "Set INSIGHTS_DATA_DIR to a directory of your own, which other users may not enter (chmod 700).";
  try {
    await makeDirectory(path);
    const open = ((await lstat(path)).mode & openToOthers) !== 0 && process.platform !== "win32";
    const foreign = open ? (await readdir(path)).find((name) => !ours.test(name)) : undefined;
    if (foreign !== undefined) {
      throw new InsightsError(`other users may read ${path}, which also contains other files, such as "${foreign}"`, {
        hint,
      });
    }
    await closeToOthers(path, hint);
  } catch (error) {
    if (!unusable.has(errorCode(error) ?? "")) throw error;
    throw new InsightsError(`the embedded database cannot be kept in ${path}: ${String(error)}`, {
      hint: "Set INSIGHTS_DATA_DIR to a directory that you may write to.",
      cause: error,
    });
  }
}

/** Removes other users' permissions from every file: the engine sets them for all users, whatever the umask. */
export async function sweep(path: string): Promise<void> {
  if (process.platform === "win32") return;
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() && !entry.isDirectory()) continue;
    const name = join(entry.parentPath, entry.name);
    try {
      if (((await lstat(name)).mode & openToOthers) !== 0) await chmod(name, entry.isFile() ? 0o600 : 0o700);
    } catch (error) {
      // Files are created and removed while the database works.
      if (errorCode(error) !== "ENOENT") throw error;
    }
  }
}

/** A secret that is generated once, and stored in the data directory, readable by its owner alone. */
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

/** The port number in the name of the socket file, which clients derive from it. */
export const socketPort = 5432;

export const socketPath = (folder: string): string => join(folder, `.s.PGSQL.${socketPort}`);

const fits = (folder: string): boolean => Buffer.byteLength(socketPath(folder)) <= longestSocket;

/**
 * The path of the socket of a data directory: in it, or, if that path is too long for a socket, in the runtime
 * directory.
 */
export async function socketFolder(dataDirectory: string): Promise<string> {
  if (fits(dataDirectory)) return dataDirectory;
  const base = join(process.env["XDG_RUNTIME_DIR"] || tmpdir(), `insights-${process.getuid?.() ?? 0}`);
  const folder = join(base, createHash("sha256").update(dataDirectory).digest("hex").slice(0, 16));
  const hint = "Set INSIGHTS_DATA_DIR to a shorter path, or XDG_RUNTIME_DIR to a directory of your own.";
  if (!fits(folder)) throw new InsightsError(`the path of a socket in ${folder} is too long`, { hint });
  for (const path of [base, folder]) {
    await makeDirectory(path);
    // Another user may have created it in a shared directory, also as a link.
    if (!(await lstat(path)).isDirectory()) throw new InsightsError(`${path} is not a directory`, { hint });
    await closeToOthers(path, hint);
  }
  return folder;
}

/** Whether a process listens on a socket. */
export async function answers(address: { path: string } | { host: string; port: number }): Promise<boolean> {
  return await new Promise((resolve) => {
    const attempt = connect(address, () => {
      attempt.destroy();
      resolve(true);
    });
    attempt.on("error", () => resolve(false));
  });
}

/** Removes the socket that a killed process has left. */
export async function freeSocket(path: string): Promise<void> {
  if (await answers({ path })) {
    throw new InsightsError(`the socket ${path} is in use by another process`, {
      hint: "End that process, or set INSIGHTS_DATA_DIR to another directory.",
    });
  }
  await rm(path, { force: true });
}
