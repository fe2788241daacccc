import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import pg from "pg";
import { errorCode, InsightsError } from "../errors.ts";
import { hasCitus } from "./distribution.ts";
import { migrateLock, migrateTables, migrationsDirectory } from "./graphile-migrate.ts";
import { isEmbedded } from "./pooler.ts";
import { splitStatements } from "./statements.ts";

/** A committed migration, in the format of graphile-migrate. */
export interface Release {
  /** Its file name in migrations/committed. */
  file: string;
  /** Its identifier in the database: the file name without the words of the message. */
  filename: string;
  hash: string;
  previous: string | null;
  body: string;
  /** Lines of the file before the body. */
  before: number;
}

/** The committed migrations of this version, by file name, in order. */
export async function committedMigrations(): Promise<string[]> {
  const files = await readdir(join(migrationsDirectory, "committed"));
  return files.filter((name) => /^\d+.*\.sql$/.test(name)).sort();
}

/** The identifier of a migration in the database, which does not store the words of the file name. */
export const migrationNumber = (filename: string): string => filename.slice(0, 6);

/** The releases of this version; refuses files that were edited, or whose hashes do not form a chain. */
export async function readReleases(): Promise<Release[]> {
  const releases: Release[] = [];
  for (const file of await committedMigrations()) {
    const text = await readFile(join(migrationsDirectory, "committed", file), "utf8");
    const header = /^(?:--! [A-Z].*\n)+/.exec(text)?.[0] ?? "";
    const value = (key: string): string | undefined => new RegExp(`^--! ${key}: *(.*)$`, "m").exec(header)?.[1]?.trim();
    const body = `${text.slice(header.length).trim()}\n`;
    const previous = releases.at(-1)?.hash ?? null;
    const hash = `sha1:${createHash("sha1")
      .update(`${`${previous ?? ""}\n${body}`.trim()}\n`)
      .digest("hex")}`;
    if (value("Hash") !== hash || value("Previous") !== (previous ?? "-")) {
      throw new InsightsError(
        `migrations/committed/${file} is not the file that was released: its hash does not match`,
        {
          hint: "Install the package again; in a checkout: git checkout migrations/committed. A change belongs in a new release.",
        },
      );
    }
    const before = text.slice(0, text.indexOf(body.trimEnd())).split("\n").length - 1;
    releases.push({ file, filename: `${migrationNumber(file)}.sql`, hash, previous, body, before });
  }
  return releases;
}

/** The applied migrations according to the database, in order: file names without words, and hashes. */
export async function appliedReleases(client: pg.ClientBase): Promise<{ filename: string; hash: string }[]> {
  const { rows } = await client.query<{ present: boolean }>(
    "select to_regclass('graphile_migrate.migrations') is not null as present",
  );
  if (rows[0]?.present !== true) return [];
  const applied = await client.query<{ filename: string; hash: string }>(
    "select filename, hash from graphile_migrate.migrations order by filename",
  );
  return applied.rows;
}

export interface ReleaseState {
  /** Not applied yet, in order. */
  pending: Release[];
  /** Identifiers of those that the database has and this version does not contain. */
  ahead: string[];
}

/**
 * Compares the applied migrations with the releases of this version; refuses a database with different releases of the
 * same number.
 */
export async function releaseState(client: pg.ClientBase, releases: Release[]): Promise<ReleaseState> {
  const applied = await appliedReleases(client);
  for (const [number, { filename, hash }] of applied.entries()) {
    const release = releases.find((candidate) => candidate.filename === filename);
    if (release === undefined || release.hash === hash) continue;
    const short = (text: string): string => text.slice(0, 17);
    throw new InsightsError(
      number === 0
        ? `this database was made by a pre-release version: its first release is ${short(hash)}, that of this version is ${short(release.hash)}`
        : `this database has another release ${filename} (${short(hash)}) than this version (${short(release.hash)})`,
      {
        hint:
          "It cannot be migrated, and nothing was changed. Export the data (pg_dump --data-only, or the version that " +
          "created it), then migrate a new database; the embedded database is created again when its data directory is moved away.",
      },
    );
  }
  const names = new Set(applied.map(({ filename }) => filename));
  return {
    pending: releases.filter(({ filename }) => !names.has(filename)),
    ahead: [...names].filter((name) => !releases.some(({ filename }) => filename === name)),
  };
}

/** How long a migration waits for locks, and how often it is tried. */
export interface LockWait {
  /** Milliseconds that one statement waits for a lock; other sessions queue behind it for as long. */
  lockTimeout: number;
  tries: number;
  /** Receives lines about the progress. */
  say(line: string): void;
}

export const defaultLockWait: LockWait = { lockTimeout: 400, tries: 10, say: console.error };

/** Milliseconds between two tries: 1, 2, 4, … and at most 30 seconds. */
const pause = (attempt: number): number => Math.min(2 ** (attempt - 1), 30) * 1000;

const holders = `
  select format(
    'pid %s, user %s, application "%s", %s since %s: %s',
    activity.pid,
    coalesce(activity.usename, '?'),
    activity.application_name,
    coalesce(activity.state, activity.backend_type),
    coalesce(to_char(activity.query_start, 'HH24:MI:SS'), '?'),
    left(regexp_replace(activity.query, '\\s+', ' ', 'g'), 100)
  ) as holder, activity.backend_type = 'autovacuum worker' as vacuum
  from unnest(pg_catalog.pg_blocking_pids($1)) as blocking (pid)
  join pg_catalog.pg_stat_activity as activity using (pid)
  order by activity.query_start
  limit 3
`;

interface Watch {
  /** The sessions that held the lock, at the last check that found any. */
  holders(): string[];
  /** Whether one of them was autovacuum. */
  vacuum(): boolean;
  end(): Promise<void>;
}

/** Checks through a second connection which sessions block the first one, every `after` milliseconds. */
function watchLocks(url: string, pid: number, after: number, found: (holders: string[]) => void = () => {}): Watch {
  const stop = new AbortController();
  let last: string[] = [];
  let vacuum = false;
  const watching = (async () => {
    await wait(after, undefined, { signal: stop.signal });
    const client = new pg.Client({ connectionString: url, application_name: "canvas-flow-insights" });
    client.on("error", () => {});
    await client.connect();
    try {
      for (;;) {
        const { rows } = await client.query<{ holder: string; vacuum: boolean | null }>(holders, [pid]);
        if (rows.length > 0) {
          last = rows.map(({ holder }) => holder);
          vacuum = rows.some((row) => row.vacuum === true);
          found(last);
        }
        await wait(after, undefined, { signal: stop.signal });
      }
    } finally {
      await client.end();
    }
    // If the check fails, for example because the server accepts no more connections, the holders stay unknown.
  })().catch(() => {});
  return {
    holders: () => last,
    vacuum: () => vacuum,
    async end() {
      stop.abort();
      await watching;
    },
  };
}

/**
 * The embedded database has one session: no other session can hold a lock, and a second connection would have to wait.
 */
async function backend(client: pg.ClientBase): Promise<number | undefined> {
  const { rows } = await client.query<{ pid: number; embedded: boolean }>(
    `select pg_catalog.pg_backend_pid() as pid, ${isEmbedded} as embedded`,
  );
  return rows[0]?.embedded === false ? rows[0].pid : undefined;
}

async function deadlockTimeout(client: pg.ClientBase): Promise<number> {
  const { rows } = await client.query<{ milliseconds: number }>(
    "select setting::int as milliseconds from pg_catalog.pg_settings where name = 'deadlock_timeout'",
  );
  return rows[0]?.milliseconds ?? 1000;
}

/**
 * Runs atomic work, such as a transaction, and repeats it if another session held a lock for too long. Reports that
 * session.
 */
export async function withLockRetries<T>(
  url: string,
  client: pg.ClientBase,
  what: string,
  { lockTimeout, tries, say }: LockWait,
  work: (lockTimeout: number) => Promise<T>,
): Promise<T> {
  const pid = await backend(client);
  let timeout = lockTimeout;
  for (let attempt = 1; ; attempt++) {
    const began = performance.now();
    let said = false;
    // Waiting for its turn is not limited by lock_timeout.
    const watch =
      pid === undefined
        ? undefined
        : watchLocks(url, pid, lockTimeout / 5, (held) => {
            if (!said && performance.now() - began > lockTimeout + 2000) {
              said = true;
              say(`${what}: waiting for its turn, after ${held.join("; ")}`);
            }
          });
    try {
      return await work(timeout);
    } catch (error) {
      const code = errorCode(error);
      if (code !== "55P03" && code !== "40P01") throw error;
      await watch?.end();
      const held = watch?.holders() ?? [];
      const who = held.length === 0 ? "another session or a prepared transaction" : held.join("; ");
      if (attempt >= tries) {
        throw new InsightsError(`${what} was not applied: a lock was held by ${who} at each of ${tries} tries`, {
          hint:
            "Nothing was changed. Wait for that session or terminate it (select pg_terminate_backend(pid)), then run this again. " +
            "INSIGHTS_LOCK_TRIES and INSIGHTS_LOCK_TIMEOUT (milliseconds) increase the number of tries and the wait.",
          cause: error,
        });
      }
      say(`${what}: a lock is held by ${who}. Try ${attempt} of ${tries}; the next in ${pause(attempt) / 1000} s`);
      // Autovacuum is cancelled when a session has waited for it as long as the server's deadlock_timeout, and not
      // before.
      timeout = watch?.vacuum() === true ? Math.max(lockTimeout, (await deadlockTimeout(client)) + 250) : lockTimeout;
      await wait(pause(attempt));
    } finally {
      await watch?.end();
    }
  }
}

/**
 * The same for work that blocks no other session, such as a concurrent index build: it waits without a limit, and
 * reports the holders.
 */
export async function reportingHolders<T>(
  url: string,
  client: pg.ClientBase,
  what: string,
  { say }: LockWait,
  work: () => Promise<T>,
): Promise<T> {
  const pid = await backend(client);
  let said = "";
  const watch =
    pid === undefined
      ? undefined
      : watchLocks(url, pid, 500, (held) => {
          if (held.join() !== said) say(`${what}: waiting for ${held.join("; ")}`);
          said = held.join();
        });
  try {
    return await work();
  } finally {
    await watch?.end();
  }
}

/**
 * One transaction as the owner of all objects, serialised with other migrations; rolled back when it fails. `before`
 * contains the statements that the login itself has to run first.
 */
export async function inTurn<T>(
  client: pg.ClientBase,
  lockTimeout: number,
  work: () => Promise<T>,
  before: () => Promise<void> = async () => {},
): Promise<T> {
  try {
    await client.query("begin");
    await client.query("select pg_catalog.pg_advisory_xact_lock($1::bigint)", [migrateLock]);
    await before();
    await client.query("set local role insights_owner");
    await client.query(`set local lock_timeout to ${Math.round(lockTimeout)}`);
    const result = await work();
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw error;
  }
}

/** The tables of applied migrations; within a transaction. */
export async function ensureHistory(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ missing: boolean }>(
    "select pg_catalog.to_regclass('graphile_migrate.current') is null as missing",
  );
  if (rows[0]?.missing === true) await client.query(migrateTables);
}

/** An error at a position of a text that begins in a line of a release, with its place. */
function withPlace(error: unknown, release: Release, text: string, line: number): unknown {
  if (error instanceof pg.DatabaseError && error.position !== undefined) {
    const lines = text.slice(0, Number(error.position) - 1).split("\n");
    const place = `migrations/committed/${release.file}, line ${release.before + line - 1 + lines.length}`;
    error.detail = error.detail === undefined ? place : `${error.detail} (${place})`;
  }
  return error;
}

/** Statements about functions and views. */
const isOfCode =
  /^((create|create or replace|alter|comment on|drop) (function|(materialized )?view)|(grant|revoke) .* on function)\b/i;

/**
 * On a cluster of Citus, whose workers follow the changes of tables and types. It cannot always replace there the functions
 * that it has copied: those that differ are copied after the release (`copyFunctions`). Views are on the coordinator only.
 */
async function runOnCluster(client: pg.ClientBase, release: Release): Promise<void> {
  for (const { text, normal, line } of splitStatements(release.body)) {
    await client.query(`set local citus.enable_ddl_propagation to ${isOfCode.test(normal) ? "off" : "on"}`);
    try {
      await client.query(text);
    } catch (error) {
      throw withPlace(error, release, text, line);
    }
  }
}

/** Runs one release and records it, within the transaction of the caller. */
export async function runRelease(client: pg.ClientBase, release: Release): Promise<void> {
  if (await hasCitus(client)) await runOnCluster(client, release);
  else
    try {
      await client.query(release.body);
    } catch (error) {
      throw withPlace(error, release, release.body, 1);
    }
  // If files of a checkout were run, it is unknown which of them the release has replaced: all run again.
  await client.query(
    `update graphile_migrate.current set content = '{"delta":"","files":{}}' where filename = 'source'`,
  );
  await client.query("insert into graphile_migrate.migrations (hash, previous_hash, filename) values ($1, $2, $3)", [
    release.hash,
    release.previous,
    release.filename,
  ]);
}

/** Applies the pending releases, each in a transaction of its own; returns their names. */
export async function applyReleases(
  url: string,
  client: pg.ClientBase,
  releases: Release[],
  lockWait: LockWait,
): Promise<string[]> {
  const applied: string[] = [];
  const { pending } = await releaseState(client, releases);
  // Also if there are no releases, as when the first one is generated.
  if (pending.length === releases.length) await inTurn(client, lockWait.lockTimeout, () => ensureHistory(client));
  for (const release of pending) {
    const mine = await withLockRetries(url, client, `release ${release.file}`, lockWait, (lockTimeout) =>
      inTurn(client, lockTimeout, async () => {
        // Another process may have applied it first.
        const { pending: left } = await releaseState(client, releases);
        if (!left.includes(release)) return false;
        await runRelease(client, release);
        return true;
      }),
    );
    if (mine) applied.push(release.file);
  }
  return applied;
}
