import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll } from "vitest";
import { packageRoot } from "../../src/paths.ts";
import { type Insights, script } from "./insights.ts";

/** A copy of this checkout, in which a test may edit files and create releases. */
export interface Checkout {
  readonly root: string;
  read(path: string): Promise<string>;
  /** Makes the folders that are missing. */
  write(path: string, text: string): Promise<void>;
  /** Replaces the first occurrence; fails when there is none. */
  edit(path: string, from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  releases(): Promise<string[]>;
  /** The command line of the copy, on a database. */
  insights(parameters: string[], url: string, environment?: Record<string, string>): Insights;
  /** Replaces all releases by a first one that is generated from the source. */
  firstRelease(url: string): Promise<string>;
  /** `npm run db:commit -- …`; throws its output if it fails. */
  commit(url: string, ...parameters: string[]): Promise<string>;
}

/** Copies the files of a checkout; removed at the end of the file. Native tests only: `db:commit` needs a server. */
export async function checkout(): Promise<Checkout> {
  const root = await mkdtemp(join(tmpdir(), "insights-checkout-"));
  afterAll(() => rm(root, { recursive: true, force: true }));
  for (const path of ["package.json", ".gmrc", "current.sql", "crontab", "migrations", "src", "tasks"]) {
    await cp(join(packageRoot, path), join(root, path), { recursive: true, verbatimSymlinks: true });
  }
  await symlink(join(packageRoot, "node_modules"), join(root, "node_modules"));
  const read = (path: string): Promise<string> => readFile(join(root, path), "utf8");
  const write = async (path: string, text: string): Promise<void> => {
    await mkdir(join(root, dirname(path)), { recursive: true });
    await writeFile(join(root, path), text);
  };
  const releases = async (): Promise<string[]> =>
    (await readdir(join(root, "migrations", "committed"))).filter((name) => name.endsWith(".sql")).sort();
  const commit = async (url: string, ...parameters: string[]): Promise<string> => {
    const call = script(join(root, "src", "database", "develop.ts"), ["commit", ...parameters], { DATABASE_URL: url });
    if ((await call.exitCode()) !== 0) throw new Error(call.output());
    return call.output();
  };
  return {
    root,
    read,
    write,
    async edit(path, from, to) {
      const text = await read(path);
      if (!text.includes(from)) throw new Error(`${path} has no "${from}"`);
      await write(
        path,
        text.replace(from, () => to),
      );
    },
    remove: (path) => rm(join(root, path)),
    releases,
    insights: (parameters, url, environment = {}) =>
      script(join(root, "src", "cli.ts"), parameters, { DATABASE_URL: url, ...environment }),
    commit,
    async firstRelease(url) {
      for (const name of await releases()) await rm(join(root, "migrations", "committed", name));
      await rm(join(root, "migrations", "committed", "manifest.json"));
      await write("current.sql", "-- Changes since the last release.\n");
      return await commit(url, "--first");
    },
  };
}
