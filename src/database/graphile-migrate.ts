import { readFileSync } from "node:fs";
import { createRequire, Module } from "node:module";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { Logger } from "@graphile/logger";
import type * as GraphileMigrate from "graphile-migrate";
import { packageRoot } from "../paths.ts";

/*
 * graphile-migrate 2.0.0-rc.3 (https://github.com/graphile/migrate) gives releases their form: files, headers, hashes,
 * includes, and the trial on a shadow database. This file holds all that is done around it, each with the reason and
 * what has to change upstream before it can go. `insights migrate` (release.ts) reads and applies the same files and
 * writes the same tables, under the same advisory lock, so that `graphile-migrate migrate` and it can take turns.
 */

const require = createRequire(import.meta.url);
const ofGraphileMigrate = createRequire(require.resolve("graphile-migrate"));

/*
 * 1. `commit` asks pg-minify whether current.sql is empty. pg-minify knows no dollar quotes: an apostrophe in a comment
 *    within `$$` makes it fail (https://github.com/vitaly-t/pg-minify/issues/12, closed as "won't fix";
 *    https://github.com/graphile/migrate/issues/93). The text itself answers the question as well.
 *    Can go when: graphile-migrate compares without pg-minify.
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
 * 2. `compile` opens no connection, but wants the name of a database for placeholders, of which there are none here.
 *    (src/commands/compile.ts.) Can go when: `compile` needs no connection string.
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
  /** Has every release so far; gets the new one. */
  main: string;
  /** Is made, and gets every release from the first on. */
  shadow: string;
  /** Where the shadow database is created from. */
  root: string;
}

/**
 * Writes current.sql to migrations/committed as the next release, tried on two databases; puts everything back when the
 * trial fails.
 *
 * 3. It logs to the terminal what the error says too: the logger is silent. Can go when: errors are only thrown.
 * 4. It keeps its connections for 200 ms after the last use, and ends the process when the server cuts one meanwhile, as
 *    dropping the database does. (src/pgReal.ts, POOL_KEEPALIVE and `process.exit`.) Hence the wait, also before an error
 *    is told. Can go when: `commit` answers after its connections are closed.
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
 * 5. What is not used of it, and why. `migrate` sets the role for the whole session, holds a session's advisory lock
 *    ("Failed to get exclusive lock" for whoever comes second, https://github.com/graphile/migrate/pull/64), sets no `lock_timeout`, and cannot do anything between two
 *    releases: through a pooler the next client would be the owner, and one long report would stop every reader. `watch`
 *    and `current` need two connections at once, which the embedded database does not have, and know current.sql only, not
 *    the files that changed (repeatable migrations: https://github.com/graphile/migrate/issues/238).
 *    release.ts and source.ts can go when: `migrate` works in one transaction a release on a connection given by the
 *    caller, with a hook before and after, and repeatable migrations exist.
 */

/** The advisory lock of graphile-migrate (src/pgReal.ts). */
export const migrateLock = "4727445306447283";

/** The tables that graphile-migrate keeps, as it makes them itself (src/migration.ts). */
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
