import { readFileSync } from "node:fs";
import { createRequire, Module } from "node:module";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { Logger } from "@graphile/logger";
import type * as GraphileMigrate from "graphile-migrate";
import { packageRoot } from "../paths.ts";

/*
 * graphile-migrate 2.0.0-rc.3 (https://github.com/graphile/migrate) defines the format of releases: files, headers,
 * hashes, includes, and the trial on a shadow database. This file contains the workarounds, each with its reason and
 * the upstream change that makes it obsolete. `insights migrate` (release.ts) reads and applies the same files and
 * writes the same tables, under the same advisory lock, so that it can be used alternately with `graphile-migrate
 * migrate`.
 */

const require = createRequire(import.meta.url);
const ofGraphileMigrate = createRequire(require.resolve("graphile-migrate"));

/*
 * 1. `commit` uses pg-minify to check whether current.sql is empty. pg-minify does not support dollar quotes: an
 *   apostrophe in a comment within `$$` makes it fail (https://github.com/vitaly-t/pg-minify/issues/12, closed as
 *   "won't fix"; https://github.com/graphile/migrate/issues/93). The text itself is compared instead. Obsolete when
 *   graphile-migrate compares without pg-minify.
 */
function load(): typeof GraphileMigrate {
  const pgMinify = ofGraphileMigrate.resolve("pg-minify");
  require.cache[pgMinify] ??= Object.assign(new Module(pgMinify), {
    exports: (sql: string) => sql.trim(),
    loaded: true,
  });
  return require("graphile-migrate") as typeof GraphileMigrate;
}

export const migrationsDirectory: string = join(packageRoot, "migrations");

/*
 * 2. `compile` opens no connection, but requires the name of a database for placeholders, although there are no
 *   placeholders here. (src/commands/compile.ts.) Obsolete when `compile` needs no connection string.
 */
export async function compile(sql: string, name: string): Promise<string> {
  return await load().compile({ connectionString: "postgres:///unused", migrationsFolder: migrationsDirectory }, sql, {
    filename: name,
  });
}

/** Settings that do not depend on the machine, as the command `graphile-migrate` reads them. */
const settings = (): GraphileMigrate.Settings =>
  (ofGraphileMigrate("json5") as { parse(text: string): GraphileMigrate.Settings }).parse(
    readFileSync(join(packageRoot, ".gmrc"), "utf8"),
  );

export interface CommitDatabases {
  /** The database that has every release so far; the new one is applied to it. */
  main: string;
  /** The database that is created, and gets every release from the first. */
  shadow: string;
  /** The database from which the shadow database is created. */
  root: string;
}

/**
 * Writes current.sql to migrations/committed as the next release, tested on two databases; restores everything when the
 * test fails.
 *
 * 3. It logs to the terminal what the error contains too: the logger is silent. Obsolete when errors are only thrown.
 * 4. It keeps its connections for 200 ms after the last use, and ends the process when the server closes one in that
 *   time, as dropping the database does. (src/pgReal.ts, POOL_KEEPALIVE and `process.exit`.) For this reason there is a
 *   wait, also before an error is reported. Obsolete when `commit` returns after its connections are closed.
 */
export async function commit(databases: CommitDatabases, message: string): Promise<void> {
  try {
    await load().commit(
      {
        ...settings(),
        connectionString: databases.main,
        shadowConnectionString: databases.shadow,
        rootConnectionString: databases.root,
        migrationsFolder: migrationsDirectory,
        logger: new Logger(() => () => {}),
      },
      message,
    );
  } finally {
    await wait(250);
  }
}

/*
 * 5. Commands that are not used, and why. `migrate` sets the role for the whole session, holds a session-level advisory
 *   lock ("Failed to get exclusive lock" for a concurrent process, https://github.com/graphile/migrate/pull/64), sets
 *   no `lock_timeout`, and cannot run anything between two releases: through a pooler the next client would act as the
 *   owner, and one long report would block every reader. `watch` and `current` need two connections at the same time,
 *   which the embedded database does not have, and apply current.sql only, not the files that changed (repeatable
 *   migrations: https://github.com/graphile/migrate/issues/238). release.ts and source.ts are obsolete when `migrate`
 *   uses one transaction per release on a connection given by the caller, with a hook before and after, and repeatable
 *   migrations exist.
 */

/** The advisory lock of graphile-migrate (src/pgReal.ts). */
export const migrateLock = "4727445306447283";

/** The tables of graphile-migrate, as it creates them itself (src/migration.ts). */
export const migrateTables = `
  create schema if not exists graphile_migrate;
  create table if not exists graphile_migrate.migrations (
    hash text primary key,
    previous_hash text references graphile_migrate.migrations,
    filename text not null,
    date timestamptz not null default now()
  );
  create table if not exists graphile_migrate.current (
    filename text primary key default 'current.sql',
    content text not null,
    date timestamptz not null default now()
  );
`;
