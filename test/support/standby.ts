import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { appendFileSync, existsSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import pg from "pg";
import { prepareTemplate, withDatabase } from "./server.ts";

/*
 * A primary server and a hot standby of it, for tests of replication: PostgreSQL of this machine, or of the Debian that
 * `.ci/run` has made. Both have files of their own, and end with the tests.
 */

interface Programs {
  /** The directory that has the file system of the server: "", or that of another Debian. */
  readonly root: string;
  readonly directory: string;
}

function findPrograms(): Programs | undefined {
  const superuser = process.getuid?.() === 0;
  const made = join(process.env["INSIGHTS_CI_CACHE"] ?? join(tmpdir(), "insights-ci-cache"), "trixie-postgresql-17");
  for (const root of superuser ? ["", made] : [""]) {
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
export const canReplicate = programs !== undefined;

/** Runs a program of PostgreSQL, as the user postgres if this one is the superuser, who may not. */
function run(command: string): void {
  if (programs === undefined) throw new Error("there is no PostgreSQL on this machine");
  const { root, directory } = programs;
  const full = `${directory}/${command}`;
  const [program, ...args] =
    process.getuid?.() !== 0
      ? ["sh", "-c", full]
      : [...(root === "" ? [] : ["chroot", root]), "su", "postgres", "-c", full];
  // A server inherits the files of pg_ctl, so that a pipe would never end.
  const { status, error } = spawnSync(program as string, args, { stdio: "ignore", cwd: "/" });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command} exited with ${status}`);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** One of the two servers. */
export interface Server {
  readonly port: number;
  /** The connection string of the installed database, as superuser unless another login is given. */
  url(login?: string): string;
  /** One statement in a session of its own, as superuser. */
  rows<T extends object = Record<string, unknown>>(sql: string, values?: unknown[]): Promise<T[]>;
  start(): void;
  stop(mode?: "fast" | "immediate"): void;
  promote(): void;
}

export interface Replication {
  readonly primary: Server;
  readonly standby: Server;
  /** The slot of the standby on the primary. */
  readonly slot: string;
  /** Resolves when the standby has replayed what the primary has written. */
  caughtUp(): Promise<void>;
  /** Copies the primary to the standby again, such as after it was promoted. */
  rebuild(): void;
  close(): void;
}

const name = "insights";

function server(port: number, data: string): Server {
  const url = (login = "postgres"): string => `postgres://${login}@127.0.0.1:${port}/${name}`;
  return {
    port,
    url,
    async rows<T extends object>(sql: string, values?: unknown[]): Promise<T[]> {
      const client = new pg.Client({ connectionString: url() });
      client.on("error", () => {});
      await client.connect();
      try {
        return (await client.query(sql, values)).rows as T[];
      } finally {
        await client.end();
      }
    },
    start: () => run(`pg_ctl start --pgdata=${data} --log=${data}/log --wait --silent`),
    stop: (mode = "fast") => run(`pg_ctl stop --pgdata=${data} --mode=${mode} --wait --silent`),
    promote: () => run(`pg_ctl promote --pgdata=${data} --wait --silent`),
  };
}

/** Starts a primary with the installed database "insights", and a standby that has a slot on it. */
export async function startReplication(): Promise<Replication> {
  const root = programs?.root ?? "";
  const parent = process.getuid?.() === 0 ? "/var/lib/postgresql" : tmpdir();
  const directory = `${parent}/insights-test-${process.pid}-${randomBytes(3).toString("hex")}`;
  const [primaryData, standbyData] = [`${directory}-primary`, `${directory}-standby`];
  const slot = "standby_1";
  const primary = server(await freePort(), primaryData);
  const standby = server(await freePort(), standbyData);
  const configure = (data: string, text: string): void => appendFileSync(`${root}${data}/postgresql.conf`, text);

  const close = (): void => {
    process.off("exit", close);
    for (const [{ stop }, data] of [
      [standby, standbyData],
      [primary, primaryData],
    ] as const) {
      if (existsSync(`${root}${data}/postmaster.pid`)) stop("immediate");
      rmSync(`${root}${data}`, { recursive: true, force: true });
    }
  };
  process.on("exit", close);

  const rebuild = (): void => {
    if (existsSync(`${root}${standbyData}/postmaster.pid`)) standby.stop("immediate");
    rmSync(`${root}${standbyData}`, { recursive: true, force: true });
    run(
      `pg_basebackup --dbname='host=127.0.0.1 port=${primary.port} user=postgres' --pgdata=${standbyData} ` +
        `--write-recovery-conf --slot=${slot} --checkpoint=fast --no-sync`,
    );
    configure(standbyData, `port = ${standby.port}\ncluster_name = '${slot}'\n`);
    standby.start();
  };

  try {
    run(`initdb --pgdata=${primaryData} --auth=trust --username=postgres --encoding=UTF8 --locale=C.UTF-8 --no-sync`);
    configure(
      primaryData,
      [
        `port = ${primary.port}`,
        "listen_addresses = '127.0.0.1'",
        "unix_socket_directories = ''",
        // A chroot has no /dev/shm.
        "dynamic_shared_memory_type = mmap",
        "shared_buffers = 64MB",
        "jit = off",
        "fsync = off",
        "wal_receiver_status_interval = 1",
        "wal_retrieve_retry_interval = '200ms'",
        "hot_standby_feedback = on",
        "",
      ].join("\n"),
    );
    primary.start();
    const administrator = new pg.Client({ connectionString: withDatabase(primary.url(), "postgres") });
    await administrator.connect();
    await administrator.query(`create database ${name}`);
    await administrator.query("select pg_create_physical_replication_slot($1, true)", [slot]);
    await administrator.end();
    await prepareTemplate(primary.url());
    rebuild();
  } catch (error) {
    close();
    throw error;
  }

  return {
    primary,
    standby,
    slot,
    rebuild,
    close,
    async caughtUp() {
      const [position] = await primary.rows<{ lsn: string }>("select pg_current_wal_insert_lsn()::text as lsn");
      for (;;) {
        const [{ done } = { done: false }] = await standby.rows<{ done: boolean }>(
          "select pg_last_wal_replay_lsn() >= $1::pg_lsn as done",
          [position?.lsn],
        );
        if (done) return;
        await wait(50);
      }
    },
  };
}
