import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type pg from "pg";
import { z } from "zod";
import { errorCode, InsightsError } from "../errors.ts";
import { packageRoot } from "../paths.ts";
import { compile, migrationsDirectory } from "./graphile-migrate.ts";
import { locksNothing } from "./locks.ts";
import { hashOf, type Statement, splitStatements } from "./statements.ts";

/*
 * The changes of the source since the last release, detected by content. `manifest.json` next to the releases contains
 * the released state: the hash of each statement of each file that all.sql includes. A database that has run the source
 * of a checkout stores the same list of what it has run, in a row of `graphile_migrate.current`.
 */

const manifestSchema = z.object({
  /** True: the releases are published, and the first one can no longer be replaced. */
  frozen: z.boolean(),
  /** SHA-256 of each released file. */
  releases: z.record(z.string(), z.string()),
  /** Hashes of the statements of each re-runnable file at the last release. */
  files: z.record(z.string(), z.array(z.string())),
});

export type Manifest = z.infer<typeof manifestSchema>;

export const manifestPath: string = join(migrationsDirectory, "committed", "manifest.json");

async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

export async function readManifest(): Promise<Manifest> {
  const text = await readIfPresent(manifestPath);
  return text === undefined ? { frozen: false, releases: {}, files: {} } : manifestSchema.parse(JSON.parse(text));
}

/** One line per file, so that a change of one file is a change of one line. */
export async function writeManifest({ frozen, releases, files }: Manifest): Promise<void> {
  const list = (entries: [string, unknown][]): string =>
    entries.map(([name, value]) => `    ${JSON.stringify(name)}: ${JSON.stringify(value)}`).join(",\n");
  await writeFile(
    manifestPath,
    `{\n  "frozen": ${frozen},\n  "releases": {\n${list(Object.entries(releases))}\n  },\n  "files": {\n${list(Object.entries(files))}\n  }\n}\n`,
  );
}

/** A part of a file that is run as a unit. */
interface Unit {
  hash: string;
  text: string;
}

interface SourceFile {
  path: string;
  units: Unit[];
  /** It locks no existing relation, so that it is run as a whole: comment and grant of a function with the function. */
  whole: boolean;
}

export interface Source {
  /** The re-runnable files, in the order of all.sql; the first is prepare.sql. */
  files: SourceFile[];
  /** The structural delta: current.sql without the files that it includes. */
  delta: string;
  /** Files that current.sql includes by `--!include`: they are run as a whole, in their place. */
  asked: Set<string>;
}

export const prepareFile = "prepare.sql";
const includeLine = /^--![ \t]*include[ \t]+(.*\.sql)[ \t]*$/gm;

/** `drop policy if exists` belongs to the statement that creates it again. */
function unitsOf(statements: Statement[]): Unit[] {
  const units: Unit[] = [];
  let drops: Statement[] = [];
  for (const statement of statements) {
    if (/^drop /i.test(statement.normal)) {
      drops.push(statement);
      continue;
    }
    const all = [...drops, statement];
    units.push({
      hash: hashOf(all.map(({ normal }) => normal).join("\n")),
      text: all.map(({ text }) => text).join("\n"),
    });
    drops = [];
  }
  if (drops.length > 0) {
    throw new InsightsError(`a file ends with "${drops[0]?.text.slice(0, 100)}", and creates nothing in its place`, {
      hint: "Drop objects permanently in current.sql.",
    });
  }
  return units;
}

async function readFiles(path: string): Promise<SourceFile[]> {
  const text = await readFile(join(packageRoot, "src", "sql", path), "utf8");
  const included = [...text.matchAll(includeLine)].map(([, name]) => name as string);
  let statements: Statement[];
  try {
    statements = splitStatements(text);
  } catch (error) {
    throw new InsightsError(`src/sql/${path}: ${error instanceof Error ? error.message : error}`);
  }
  if (included.length === 0) {
    return [{ path, units: unitsOf(statements), whole: statements.every(locksNothing) }];
  }
  if (statements.length > 0) throw new InsightsError(`src/sql/${path} has statements in addition to its includes`);
  return (await Promise.all(included.map(readFiles))).flat();
}

/** The source of a checkout; undefined in the published package, which contains releases only. */
export async function readSource(): Promise<Source | undefined> {
  const current = await readIfPresent(join(migrationsDirectory, "current.sql"));
  if (current === undefined) return undefined;
  const files = await readFiles("all.sql");
  const paths = new Set(files.map(({ path }) => path));
  const asked = new Set<string>();
  const delta = current.replace(includeLine, (line, path: string) => {
    if (path === "all.sql") for (const every of paths) asked.add(every);
    else if (paths.has(path)) asked.add(path);
    else return line;
    return "";
  });
  const empty = splitStatements(delta).length === 0 && !/^--![ \t]*include/m.test(delta);
  return { files, delta: empty ? "" : delta.trim(), asked };
}

/** The source, in the form in which the manifest and the databases store it. */
export const filesOf = (source: Source): Manifest["files"] =>
  Object.fromEntries(source.files.map(({ path, units }) => [path, units.map(({ hash }) => hash)]));

const changed = (file: SourceFile, known: Manifest["files"]): Unit[] => {
  const seen = new Set(known[file.path]);
  return file.units.filter(({ hash }) => !seen.has(hash));
};

/**
 * The statements to run where `known` was run before: prepare.sql, the delta, then files in the order of all.sql, each
 * as a whole or, if it locks tables, only the statements that changed. Undefined if nothing has changed.
 */
export function scriptOf(source: Source, known: Manifest["files"][], delta = source.delta): string | undefined {
  const parts = source.files
    .filter(({ path }) => path !== prepareFile)
    .flatMap((file) => {
      const include = `--!include ${file.path}`;
      if (source.asked.has(file.path)) return [include];
      const units = [...new Set(known.flatMap((list) => changed(file, list)))];
      if (units.length === 0) return [];
      const ordered = file.units.filter((unit) => units.includes(unit));
      return [file.whole ? include : [`-- from ${file.path}`, ...ordered.map(({ text }) => text)].join("\n")];
    });
  const prepare = source.files.find(({ path }) => path === prepareFile);
  const prepared = prepare === undefined || known.every((list) => changed(prepare, list).length === 0);
  if (delta === "" && parts.length === 0 && prepared) return undefined;
  return [`--!include ${prepareFile}`, ...(delta === "" ? [] : [delta]), ...parts].join("\n\n");
}

const seenSchema = z.object({ delta: z.string(), files: manifestSchema.shape.files });

async function seenBy(client: pg.ClientBase): Promise<z.infer<typeof seenSchema> | undefined> {
  const { rows } = await client.query<{ content: string }>(
    "select content from graphile_migrate.current where filename = 'source'",
  );
  return rows[0] === undefined ? undefined : seenSchema.parse(JSON.parse(rows[0].content));
}

export interface Pending {
  /** The statements, includes expanded. */
  sql: string;
  /** Records that they were run; in the same transaction. */
  record(client: pg.ClientBase): Promise<void>;
}

/**
 * The changes in the source of a checkout that this database has not run; undefined if there are none. A file that was
 * changed, run and changed back differs from what the database has run, and is run again.
 */
export async function pendingCurrent(client: pg.ClientBase): Promise<Pending | undefined> {
  const source = await readSource();
  if (source === undefined) return undefined;
  const released = (await readManifest()).files;
  const seen = await seenBy(client);
  const delta = hashOf([source.delta, ...source.asked].join("\n"));
  const nothing = hashOf("");
  const again = delta !== nothing && delta !== seen?.delta;
  const script = again
    ? // The delta may drop objects that files have created since the release.
      scriptOf(source, seen === undefined ? [released] : [released, seen.files])
    : scriptOf({ ...source, asked: new Set() }, [seen?.files ?? released], "");
  if (script === undefined) return undefined;
  const content = JSON.stringify({ delta, files: filesOf(source) });
  return {
    sql: await compile(script, "current.sql"),
    async record(client) {
      await client.query(
        `insert into graphile_migrate.current (filename, content) values ('source', $1)
         on conflict (filename) do update set content = excluded.content, date = excluded.date`,
        [content],
      );
    },
  };
}
