import type pg from "pg";
import { findMissingParts } from "./indexes.ts";
import { describe, effectOf, type Lock, type LockMode, lockModes, locksIn } from "./locks.ts";
import { queueSchema } from "./logins.ts";
import { bootstrap, mayRevokeTemporary } from "./migrate.ts";
import { describeBoundary, findWrongBoundaries } from "./months.ts";
import {
  ensureHistory,
  inTurn,
  type LockWait,
  readReleases,
  releaseState,
  runRelease,
  withLockRetries,
} from "./release.ts";
import { pendingCurrent } from "./source.ts";
import { splitStatements } from "./statements.ts";

/** A longer script is summarised by kinds of statements: the first release has more than a thousand statements. */
const mostStatements = 200;

const size = (bytes: number): string =>
  bytes < 1024 ** 2
    ? "under 1 MB"
    : bytes < 1024 ** 3
      ? `${Math.ceil(bytes / 1024 ** 2)} MB`
      : `${(bytes / 1024 ** 3).toFixed(1)} GB`;

const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? "" : "s"}`;

const lockLine = ({ relation, mode, bytes, partitions }: Lock): string =>
  `${mode} on ${relation}${partitions > 0 ? ` and ${count(partitions, "partition")}` : ""} (${size(bytes)}): ${effectOf(mode)}`;

const heavy = (mode: LockMode): boolean => lockModes.indexOf(mode) >= lockModes.indexOf("SHARE");

/** Lines about one script: its statements, and their locks on existing relations. */
async function planScript(client: pg.ClientBase, title: string, sql: string): Promise<string[]> {
  const statements = splitStatements(sql);
  const lines = [
    `${title}: ${count(sql.trimEnd().split("\n").length, "line")}, ${count(statements.length, "statement")}`,
  ];
  const all = statements.map((statement) => ({ statement, ...describe(statement) }));
  if (all.length <= mostStatements) {
    for (const { statement, kind, object, locks, known } of all) {
      lines.push(
        `  line ${statement.line}: ${kind === undefined ? statement.text.slice(0, 100) : `${kind} ${object}`.trimEnd()}`,
      );
      for (const lock of await locksIn(client, locks)) {
        lines.push(`    ${lockLine(lock)}`, ...aboutIndex(kind, lock));
      }
      if (!known) lines.push("    its text does not determine its locks: see --dry-run");
    }
  } else {
    const kinds = Map.groupBy(all, ({ kind }) => kind ?? "other");
    for (const [kind, group] of kinds) lines.push(`  ${group.length} × ${kind}`);
  }
  const locks = (
    await locksIn(
      client,
      all.flatMap((one) => one.locks),
    )
  ).filter(({ mode }) => heavy(mode));
  const unknown = all.some(({ known }) => !known)
    ? ", except for statements whose text does not determine their locks"
    : "";
  lines.push(
    locks.length === 0
      ? `  no read and no write waits for it${unknown}`
      : `  blocks other sessions until it is committed${unknown}:`,
    ...locks.map((lock) => `    ${lockLine(lock)}`),
  );
  return lines;
}

function aboutIndex(kind: string | undefined, { bytes }: Lock): string[] {
  if (kind === "create index on only") {
    return [
      `    for a moment; then each partition is indexed concurrently (${size(bytes)} in all) while reads and writes continue`,
    ];
  }
  return kind === "create index" && bytes > 100 * 1024 ** 2
    ? [`    writes wait while ${size(bytes)} are read; on a partitioned table, "on only" avoids this`]
    : [];
}

/** Objects that are created before the first release: roles, extension, queue. */
async function planBootstrap(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ roles: string | null; vector: string | null; queue: boolean }>(
    `select
       (
         select string_agg(name, ', ' order by name)
         from unnest(array['insights_owner', 'insights_instructor', 'insights_api', 'insights_queue']) as name
         where pg_catalog.to_regrole(name) is null
       ) as roles,
       (
         select default_version from pg_catalog.pg_available_extensions
         where name = 'vector' and installed_version is null
       ) as vector,
       pg_catalog.to_regnamespace($1) is null as queue`,
    [queueSchema],
  );
  const { roles = null, vector = null, queue = false } = rows[0] ?? {};
  return [
    ...(roles === null ? [] : ["to be created: the roles of src/sql/roles.sql, for the whole server"]),
    ...(vector === null ? [] : [`to be created: the extension vector ${vector}`]),
    ...(queue ? [`to be created: the schema ${queueSchema}, the job queue`] : []),
  ];
}

/** The actions of `insights migrate`, as lines to read; changes nothing. */
export async function plan(client: pg.ClientBase): Promise<string[]> {
  const releases = await readReleases();
  const { pending, ahead } = await releaseState(client, releases);
  const lines = await planBootstrap(client);
  for (const { file, body } of pending) lines.push(...(await planScript(client, `release ${file}`, body)));
  if (ahead.length > 0) lines.push(`the database is ahead of this version: it has release ${ahead.join(", ")}`);
  const migrated = pending.length < releases.length;
  if (!migrated && (await mayRevokeTemporary(client))) {
    lines.push("to be revoked: temporary on this database from public, since it contains no other application");
  }
  const current = migrated && ahead.length === 0 ? await pendingCurrent(client) : undefined;
  if (current !== undefined) lines.push(...(await planScript(client, "changes of this checkout", current.sql)));
  for (const boundary of migrated ? await findWrongBoundaries(client) : []) {
    lines.push(
      `${describeBoundary(boundary)}: to be moved, with ACCESS EXCLUSIVE on track.event (${size(boundary.bytes)}): reads and writes wait`,
    );
  }
  const missing = migrated ? await findMissingParts(client) : [];
  for (const { index, partition, bytes, ready } of missing) {
    lines.push(
      ready === null
        ? `index ${index}: to be built on ${partition} (${size(bytes)}) concurrently while reads and writes continue`
        : `index ${index}: ${ready} to be attached, for a moment ACCESS EXCLUSIVE on ${ready}`,
    );
  }
  return lines.length === 0 ? ["up to date: nothing to do"] : lines;
}

const userRelations = `
  select class.oid
  from pg_catalog.pg_class as class
  join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where namespace.nspname !~ '^pg_'
    and namespace.nspname not in ('information_schema', 'graphile_migrate', '${queueSchema}')
    and class.relkind in ('r', 'p', 'v', 'm', 'i', 'I')
`;

const heldLocks = `
  select lock.relation::regclass::text as relation, replace(upper(
      regexp_replace(regexp_replace(lock.mode, 'Lock$', ''), '([a-z])([A-Z])', '\\1 \\2', 'g')
    ), '  ', ' ') as mode
  from pg_catalog.pg_locks as lock
  where lock.pid = pg_catalog.pg_backend_pid()
    and lock.locktype = 'relation'
    and lock.granted
    and lock.relation = any($1::oid[])
  order by 1
`;

/**
 * Runs all pending statements in one transaction, and rolls it back; returns the locks that it took. The queue's own
 * migrations and concurrent index builds are omitted: they cannot run in this transaction.
 */
export async function dryRun(url: string, client: pg.ClientBase, lockWait: LockWait): Promise<string[]> {
  const releases = await readReleases();
  const before = (await client.query<{ oid: number }>(userRelations)).rows.map(({ oid }) => oid);
  const lines: string[] = [];
  const rolledBack = new Error("rolled back");
  await withLockRetries(url, client, "the dry run", lockWait, async (lockTimeout) => {
    lines.length = 0;
    const began = performance.now();
    await inTurn(
      client,
      lockTimeout,
      async () => {
        const { pending, ahead } = await releaseState(client, releases);
        await ensureHistory(client);
        for (const release of pending) await runRelease(client, release);
        const current = ahead.length === 0 ? await pendingCurrent(client) : undefined;
        if (current !== undefined) await client.query(current.sql);
        const { rows } = await client.query<{ relation: string; mode: LockMode }>(heldLocks, [before]);
        lines.push(
          `ran ${[...pending.map(({ file }) => file), ...(current === undefined ? [] : ["the changes of this checkout"])].join(", ") || "nothing"}` +
            ` in ${Math.round(performance.now() - began)} ms, and rolled it back`,
          ...rows
            .filter(({ mode }) => heavy(mode))
            .map(({ relation, mode }) => `  locked ${mode} on ${relation}: ${effectOf(mode)}`),
        );
        throw rolledBack;
      },
      () => bootstrap(client),
    ).catch((error: unknown) => {
      if (error !== rolledBack) throw error;
    });
  });
  return lines;
}
