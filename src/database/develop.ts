import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pg from "pg";
import { readConfig } from "../config.ts";
import { describeError, InsightsError } from "../errors.ts";
import { packageRoot } from "../paths.ts";
import { withClient } from "./connect.ts";
import { migrate } from "./migrate.ts";

/*
 * graphile-migrate for developers of the schema: `npm run db:watch`, `npm run db:commit`. Both need a real server: the
 * embedded database has one session and one database, on which watching hangs and committing proves nothing.
 */

function onDatabase(url: string, name: string): string {
  const result = new URL(url);
  result.pathname = `/${name}`;
  return result.href;
}

/** Migrations run as the owner of everything, whoever signs in. */
function asOwner(url: string): string {
  const result = new URL(url);
  result.searchParams.set("options", "-c role=insights_owner");
  return result.href;
}

const withoutMinify = join(packageRoot, "src", "database", "without-minify.cjs");

function graphileMigrate(parameters: string[], environment: Record<string, string>): void {
  const { status, error } = spawnSync("graphile-migrate", parameters, {
    cwd: packageRoot,
    stdio: "inherit",
    shell: process.platform === "win32",
    env: { ...process.env, ...environment, NODE_OPTIONS: `--require=${JSON.stringify(withoutMinify)}` },
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new InsightsError(`graphile-migrate ${parameters[0]} failed`);
}

/** Applies current.sql to the configured database at every change. */
async function watch(url: string): Promise<void> {
  await migrate(url);
  graphileMigrate(["watch"], { DATABASE_URL: asOwner(url) });
}

/** Writes current.sql to migrations/committed, tried on two new databases of the server. */
async function commit(url: string, message: string): Promise<void> {
  const root = readConfig().rootDatabaseUrl ?? onDatabase(url, "postgres");
  const scratch = `insights_commit_${randomBytes(4).toString("hex")}`;
  const shadow = `${scratch}_shadow`;
  await withClient(root, async (client) => {
    await client.query(`create database ${pg.escapeIdentifier(scratch)}`);
    try {
      await migrate(onDatabase(url, scratch), { current: false });
      graphileMigrate(["commit", "--message", message], {
        DATABASE_URL: asOwner(onDatabase(url, scratch)),
        SHADOW_DATABASE_URL: asOwner(onDatabase(url, shadow)),
        ROOT_DATABASE_URL: root,
      });
    } finally {
      for (const name of [scratch, shadow]) {
        await client.query(`drop database if exists ${pg.escapeIdentifier(name)} with (force)`);
      }
    }
  });
}

try {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { message: { type: "string", short: "m" } },
  });
  const [action] = positionals;
  const config = readConfig();
  const databaseUrl = config.directUrl ?? config.databaseUrl;
  if (databaseUrl === undefined) {
    throw new InsightsError(`db:${action} needs a PostgreSQL server, and DATABASE_URL is not set`, {
      hint: "The embedded database can't do it. Set DATABASE_URL to a server where the login may create databases.",
    });
  }
  if (action === "watch") {
    await watch(databaseUrl);
  } else if (action === "commit") {
    if (values.message === undefined) {
      throw new InsightsError("a migration has a message", { hint: 'npm run db:commit -- --message "what changes"' });
    }
    await commit(databaseUrl, values.message);
  } else {
    throw new InsightsError(`"${action}" is neither watch nor commit`);
  }
} catch (error) {
  console.error(describeError(error));
  process.exitCode = 1;
}
