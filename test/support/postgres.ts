import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withClient } from "../../src/database/connect.ts";
import { withDatabase } from "./server.ts";

/*
 * PostgreSQL servers of their own, for what needs to stop, kill or replicate them: the programs are those of this machine,
 * or of the Debian that `.ci/run` has made. Their files end with the process.
 */

interface Programs {
  /** The directory that has the file system of the server: "", or that of another Debian. */
  readonly root: string;
  readonly directory: string;
}

const isSuperuser = process.getuid?.() === 0;

function findPrograms(): Programs | undefined {
  const made = join(process.env["INSIGHTS_CI_CACHE"] ?? join(tmpdir(), "insights-ci-cache"), "trixie-postgresql-17");
  for (const root of isSuperuser ? ["", made] : [""]) {
    for (const version of [18, 17, 16, 15]) {
      const directory = `/usr/lib/postgresql/${version}/bin`;
      const vector = `/usr/share/postgresql/${version}/extension/vector.control`;
      if (existsSync(join(root, directory, "pg_basebackup")) && existsSync(join(root, vector)))
        return { root, directory };
    }
  }
  return undefined;
}

const programs = findPrograms();

/** Whether this machine has the programs of PostgreSQL and pgvector. */
export const canStartServer = programs !== undefined;

/** Whether the programs of this machine have an extension. */
export function hasExtension(name: string): boolean {
  if (programs === undefined) return false;
  const version = programs.directory.split("/").at(-2);
  return existsSync(join(programs.root, `/usr/share/postgresql/${version}/extension/${name}.control`));
}

/** The path outside of the file system of the server of one inside of it. */
const outside = (path: string): string => `${programs?.root ?? ""}${path}`;

/** Debian's libfaketime, which moves the clock of the processes that load it. */
const movedClock = ["x86_64", "aarch64"]
  .map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketime.so.1`)
  .find((file) => existsSync(`${programs?.root}${file}`));

/** Whether servers can be started with another clock. */
export const canMoveClock = movedClock !== undefined;

/**
 * Runs a program of PostgreSQL, as the user postgres if this one is the superuser, who may not. `clock`: seconds that its
 * clock is ahead.
 */
export function runProgram(command: string, clock = 0): void {
  if (programs === undefined) throw new Error("there is no PostgreSQL on this machine");
  const { root, directory } = programs;
  if (clock !== 0 && movedClock === undefined) throw new Error("there is no libfaketime on this machine");
  // Waits are those of the machine: only the time of day moves.
  const environment =
    clock === 0
      ? ""
      : `env LD_PRELOAD=${movedClock} FAKETIME=${clock > 0 ? "+" : ""}${clock} FAKETIME_DONT_FAKE_MONOTONIC=1 `;
  const full = `${environment}${directory}/${command}`;
  const [program, ...args] = isSuperuser
    ? [...(root === "" ? [] : ["chroot", root]), "su", "postgres", "-c", full]
    : ["sh", "-c", full];
  // A server inherits the files of pg_ctl, so that a pipe would never end.
  const { status, error } = spawnSync(program as string, args, { stdio: "ignore", cwd: "/" });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command} exited with ${status}`);
}

/** A directory for the files of servers, as PostgreSQL sees it. It does not exist yet. */
export const newDirectory = (): string =>
  `${isSuperuser ? "/var/lib/postgresql" : tmpdir()}/insights-test-${process.pid}-${randomBytes(3).toString("hex")}`;

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

export interface Server {
  readonly port: number;
  /** The connection string of the installed database, as superuser unless another login is given. */
  url(login?: string): string;
  /** One statement in a session of its own, as superuser. */
  rows<T extends object = Record<string, unknown>>(sql: string, values?: unknown[], database?: string): Promise<T[]>;
  configure(lines: string): void;
  /** `clock`: seconds that its clock is ahead (see `canMoveClock`). */
  start(clock?: number): void;
  stop(mode?: "fast" | "immediate"): void;
  /** Ends all its processes with SIGKILL. */
  kill(): void;
  promote(): void;
  /** Stops it if it runs, and removes its files. */
  remove(): void;
}

const databaseName = "insights";

/** The server with these files, which `initdb` or `pg_basebackup` makes. */
export function serverOf(port: number, data: string): Server {
  const url = (login = "postgres"): string => `postgres://${login}@127.0.0.1:${port}/${databaseName}`;
  const lock = outside(`${data}/postmaster.pid`);
  const stop = (mode = "fast"): void => runProgram(`pg_ctl stop --pgdata=${data} --mode=${mode} --wait --silent`);
  return {
    port,
    url,
    async rows<T extends object>(sql: string, values?: unknown[], database?: string): Promise<T[]> {
      const target = withDatabase(url(), database ?? databaseName);
      return await withClient(target, async (client) => (await client.query(sql, values)).rows as T[]);
    },
    configure: (lines) => appendFileSync(outside(`${data}/postgresql.conf`), lines),
    start: (clock) => runProgram(`pg_ctl start --pgdata=${data} --log=${data}/log --wait --silent`, clock),
    stop,
    kill() {
      const postmaster = Number(readFileSync(lock, "utf8").split("\n")[0]);
      // The postmaster first: it would replace its processes.
      for (const pid of [postmaster, ...childrenOf(postmaster)]) process.kill(pid, "SIGKILL");
      rmSync(lock);
    },
    promote: () => runProgram(`pg_ctl promote --pgdata=${data} --wait --silent`),
    remove() {
      if (existsSync(lock)) stop("immediate");
      rmSync(outside(data), { recursive: true, force: true });
    },
  };
}

function childrenOf(parent: number): number[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === parent ? [Number(name)] : [];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
}

/** Makes a server with usual settings for tests, and starts it. The parent of `data` exists. */
export async function newServer(data: string, settings: readonly string[] = []): Promise<Server> {
  const server = serverOf(await freePort(), data);
  runProgram(`initdb --pgdata=${data} --auth=trust --username=postgres --encoding=UTF8 --locale=C.UTF-8 --no-sync`);
  server.configure(
    [
      `port = ${server.port}`,
      "listen_addresses = '127.0.0.1'",
      "unix_socket_directories = ''",
      // A chroot has no /dev/shm.
      "dynamic_shared_memory_type = mmap",
      "shared_buffers = 64MB",
      "jit = off",
      "fsync = off",
      ...settings,
      "",
    ].join("\n"),
  );
  try {
    server.start();
    await server.rows(`create database ${databaseName}`, [], "postgres");
  } catch (error) {
    server.remove();
    throw error;
  }
  return server;
}

/** A file system of its own for a directory, so that it can be filled. Undefined where this process may not mount one. */
export function limitedDirectory(megabytes: number): { path: string; outside: string; unmount(): void } | undefined {
  const path = newDirectory();
  const target = outside(path);
  mkdirSync(target);
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m,mode=0777`, "insights", target]);
  if (mounted.status !== 0) {
    rmSync(target, { recursive: true });
    return undefined;
  }
  return {
    path,
    outside: target,
    unmount() {
      spawnSync("umount", ["--lazy", target]);
      rmSync(target, { recursive: true, force: true });
    },
  };
}
