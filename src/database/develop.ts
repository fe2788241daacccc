import { createHash, randomBytes } from "node:crypto";
import { existsSync, watch as watchFiles } from "node:fs";
import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pg from "pg";
import { readConfig } from "../config.ts";
import { describeError, InsightsError } from "../errors.ts";
import { packageRoot } from "../paths.ts";
import { type Catalogue, catalogueOf, differences } from "./catalogue.ts";
import { withClient } from "./connect.ts";
import { commit as commitCurrent, migrationsDirectory } from "./graphile-migrate.ts";
import { bootstrap, type MigrateResult, migrate, runAsOwner } from "./migrate.ts";
import { committedMigrations } from "./release.ts";
import { filesOf, readManifest, readSource, scriptOf, writeManifest } from "./source.ts";
import { expandSql } from "./sql.ts";
import { splitStatements } from "./statements.ts";

/*
 * For developers of the schema: `npm run db:watch`, `npm run db:commit`. Both require a real server: the embedded
 * database has one session and one database, on which a trial of a release is not possible.
 */

const committed = join(migrationsDirectory, "committed");
const currentFile = join(packageRoot, "current.sql");
const blank = "-- Changes of structure since the last release: see migrations/README.md.\n";

function onDatabase(url: string, name: string): string {
  const result = new URL(url);
  result.pathname = `/${name}`;
  return result.href;
}

/** Migrations run as the owner of all objects, whatever the login. */
function asOwner(url: string): string {
  const result = new URL(url);
  result.searchParams.set("options", "-c role=insights_owner");
  return result.href;
}

/** Applies the source to the configured database at every change. */
async function watch(url: string): Promise<void> {
  const say = ({ applied, current }: MigrateResult): void => {
    for (const file of applied) console.log(`applied ${file}`);
    console.log(current ? "applied the source" : "up to date");
  };
  let queued: NodeJS.Timeout | undefined;
  let running: Promise<void> = migrate(url, { say: console.log }).then(say);
  await running;
  const changed = (): void => {
    clearTimeout(queued);
    queued = setTimeout(() => {
      running = running
        .then(() => migrate(url, { say: console.log }))
        .then(say)
        .catch((error: unknown) => console.error(describeError(error)));
    }, 200);
  };
  // Each directory is watched by itself: a recursive watch on Linux loses files that an editor replaces.
  const source = join(packageRoot, "src", "sql");
  const entries = await readdir(source, { recursive: true, withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
  for (const folder of [source, ...folders]) watchFiles(folder, changed);
  watchFiles(packageRoot, (_event, file) => {
    if (file === "current.sql") changed();
  });
}

const catalogue = async (url: string): Promise<Catalogue> =>
  await withClient(url, async (client) => {
    await client.query("set search_path to ''");
    return await catalogueOf(client);
  });

/** Refuses a release that does not give the same catalogue as the source installed from empty. */
async function compareWithSource(released: string, fresh: string): Promise<void> {
  await migrate(released, { current: false });
  await withClient(fresh, async (client) => {
    await bootstrap(client);
    await runAsOwner(client, await expandSql("install.sql"));
  });
  const lines = differences(await catalogue(released), await catalogue(fresh), {
    actual: "the release",
    expected: "the source",
  });
  if (lines.length === 0) return;
  const more = lines.length > 30 ? [`… and ${lines.length - 30} more`] : [];
  throw new InsightsError(
    [
      `the release does not give the same catalogue as src/sql installed from empty:`,
      ...lines.slice(0, 30),
      ...more,
    ].join("\n  "),
    {
      hint:
        "Write changes that a file cannot replace (tables, columns, types, changed signatures, dropped objects) into " +
        'current.sql; a line "--!include <file>" there runs a file whole, in its place.',
    },
  );
}

interface CommitOptions {
  message: string;
  /** The first release is generated again from src/sql, in place of the existing one. */
  first: boolean;
}

/** Writes the next release, tested on new databases of the server. */
async function commit(url: string, { message, first }: CommitOptions): Promise<void> {
  const manifest = await readManifest();
  const source = await readSource();
  if (source === undefined) throw new InsightsError("a release requires a checkout, with current.sql");
  const earlier = await committedMigrations();
  if (first && (manifest.frozen || earlier.length > 1)) {
    throw new InsightsError("the releases are frozen: the first one cannot be generated again", {
      hint: 'Databases depend on it. Create a new release: npm run db:commit -- --message "what changes"',
    });
  }
  const script = first || earlier.length === 0 ? "--!include install.sql" : scriptOf(source, [manifest.files]);
  if (script === undefined) {
    const files = filesOf(source);
    const less = Object.entries(manifest.files).find(([path, hashes]) =>
      hashes.some((hash) => !files[path]?.includes(hash)),
    );
    if (less !== undefined) {
      throw new InsightsError(
        `${less[0]} has fewer statements, and current.sql does not drop the objects that they created`,
        {
          hint: "Files only create and replace objects. Drop them in current.sql: drop policy if exists …",
        },
      );
    }
    throw new InsightsError("nothing has changed since the last release", { hint: "Edit src/sql, then commit." });
  }
  const current = await readFile(currentFile, "utf8");
  const kept = first && earlier[0] !== undefined ? join(committed, earlier[0]) : undefined;
  const root = readConfig().rootDatabaseUrl ?? onDatabase(url, "postgres");
  const name = `insights_commit_${randomBytes(4).toString("hex")}`;
  const [main, shadow, fresh] = [`${name}_main`, `${name}_shadow`, `${name}_source`] as const;
  const restore = async (): Promise<void> => {
    for (const file of await committedMigrations()) if (!earlier.includes(file)) await rm(join(committed, file));
    if (kept !== undefined && existsSync(`${kept}.old`)) await rename(`${kept}.old`, kept);
    await writeFile(currentFile, current);
  };
  await withClient(root, async (client) => {
    try {
      if (kept !== undefined) await rename(kept, `${kept}.old`);
      for (const database of [main, fresh]) await client.query(`create database ${pg.escapeIdentifier(database)}`);
      await migrate(onDatabase(url, main), { current: false });
      await writeFile(currentFile, `${script}\n`);
      await commitCurrent(
        { main: asOwner(onDatabase(url, main)), shadow: asOwner(onDatabase(url, shadow)), root },
        message,
      );
      await compareWithSource(onDatabase(url, main), onDatabase(url, fresh));
      const files = await committedMigrations();
      const releases: Record<string, string> = {};
      for (const file of files) {
        releases[file] = createHash("sha256")
          .update(await readFile(join(committed, file)))
          .digest("hex");
      }
      await writeManifest({ frozen: manifest.frozen || files.length > 1, releases, files: filesOf(source) });
      await writeFile(currentFile, first || earlier.length === 0 ? current : blank);
      if (kept !== undefined) await rm(`${kept}.old`, { force: true });
      const text = await readFile(join(committed, files.at(-1) ?? ""), "utf8");
      console.log(
        `migrations/committed/${files.at(-1)}: ${text.split("\n").length - 1} lines, ${splitStatements(text).length} statements`,
      );
    } catch (error) {
      await restore();
      throw error;
    } finally {
      for (const database of [main, shadow, fresh]) {
        await client.query(`drop database if exists ${pg.escapeIdentifier(database)} with (force)`);
      }
    }
  });
}

try {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { message: { type: "string", short: "m" }, first: { type: "boolean" }, freeze: { type: "boolean" } },
  });
  const [action] = positionals;
  const config = readConfig();
  const databaseUrl = config.directUrl ?? config.databaseUrl;
  if (action === "commit" && values.freeze === true) {
    await writeManifest({ ...(await readManifest()), frozen: true });
  } else if (databaseUrl === undefined) {
    throw new InsightsError(`db:${action} needs a PostgreSQL server, and DATABASE_URL is not set`, {
      hint: "The embedded database cannot do it. Set DATABASE_URL to a server where the login may create databases.",
    });
  } else if (action === "watch") {
    await watch(databaseUrl);
  } else if (action === "commit") {
    const message = values.message ?? (values.first === true ? "first release" : undefined);
    if (message === undefined) {
      throw new InsightsError("a migration has a message", { hint: 'npm run db:commit -- --message "what changes"' });
    }
    await commit(databaseUrl, { message, first: values.first === true });
  } else {
    throw new InsightsError(`"${action}" is neither watch nor commit`);
  }
} catch (error) {
  console.error(describeError(error));
  process.exitCode = 1;
}
