import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Command } from "commander";
import { expect, test } from "vitest";
import importCommand from "../src/commands/import.ts";
import { rooms } from "../src/database/catalogue.ts";
import { packageRoot } from "../src/paths.ts";
import { testDatabase } from "./support/database.ts";

const database = await testDatabase();
const read = (path: string): Promise<string> => readFile(join(packageRoot, path), "utf8");

test("CONTRIBUTING: the templates for a table, its policies and a function run", async () => {
  const text = await read("CONTRIBUTING.md");
  const [definition = "", table = "", policies = ""] = [...text.matchAll(/```sql\n(.*?)```/gs)].map(([, sql]) => sql);
  await database.as("insights_owner", {}, async (db) => {
    for (const sql of [table, policies, definition]) await db.query(sql);
    await db.query("set local role insights_admin");
    expect(await db.rejects("select track.bookmarked_items('curse')")).toMatchObject({
      code: "CF002",
      message: 'there is no item of kind "curse"',
    });
  });
});

test("CHANGELOG: each public function, table, view and command is named", async () => {
  const objects = await database.rows<{ name: string }>(`
    with room as (${rooms})
    select distinct procedure.proname::text as name
    from pg_catalog.pg_proc as procedure
    join room on room.oid = procedure.pronamespace
    where procedure.proname !~ '^_'
    union
    select class.relname::text
    from pg_catalog.pg_class as class
    join room on room.oid = class.relnamespace
    where class.relkind in ('r', 'p', 'v', 'm') and not class.relispartition
    order by 1`);
  const text = await read("CHANGELOG.md");
  const commands = (await read("src/cli.ts")).matchAll(/import\("\.\/commands\/(\w+)\.ts"\)/g);
  const named = [...objects.map(({ name }) => name), ...[...commands].map(([, name = ""]) => name)];
  expect(named.filter((name) => !new RegExp(`\`(?:insights )?${name}\``).test(text))).toEqual([]);
});

test("glossary: each table and function in it exists", async () => {
  const text = await read("docs/glossary.md");
  const schemas = (await readdir(join(packageRoot, "src/sql"), { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  const names = [...text.matchAll(new RegExp(`\`((?:${schemas.join("|")})\\.[a-z_]+)(?:\\.[a-z_]+)?\``, "g"))];
  expect(names.length).toBeGreaterThan(50);
  const unknown = await database.rows<{ name: string }>(
    `select distinct name from unnest($1::text[]) as name
     where to_regclass(name) is null and to_regproc(name) is null order by 1`,
    [names.map(([, name]) => name)],
  );
  expect(unknown).toEqual([]);
});

test("monitor: each example in its README and the guides runs", async () => {
  await database.as("postgres", {}, async (db) => {
    // The examples are about courses, and the alert 1.
    await db.query("insert into track.item (external_id, kind) values ('algebra', 'course')");
    await db.query(
      `insert into monitor.alert (
         alert_id, source, subject, owner, severity, message, fix, opened_at, changed_at, seen_at
       )
       overriding system value
       values (1, 'replication', 'standby', 'operator', 'warning', 'It lags.', 'Restart it.', now(), now(), now())`,
    );
    let examples = 0;
    for (const path of ["src/sql/monitor/README.md", ...(await guides())]) {
      for (const [, sql = ""] of (await read(path)).matchAll(/```sql\n(.*?)```/gs)) {
        if (!sql.includes("monitor.")) continue;
        examples += 1;
        await db.query("savepoint example");
        await db.query(sql).catch((error: Error) => {
          throw new Error(`${path}: ${error.message}\n${sql}`);
        });
        await db.query("rollback to savepoint example");
      }
    }
    expect(examples).toBeGreaterThan(8);
  });
});

const guides = async (): Promise<string[]> =>
  (await readdir(join(packageRoot, "docs"))).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`);

test("guides: each link leads to a file, and to a heading of it", async () => {
  const slug = (heading: string): string =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\- _]/gu, "")
      .replaceAll(" ", "-");
  const broken: string[] = [];
  let links = 0;
  const paths = (await readdir(join(packageRoot, "docs"), { recursive: true })).filter((path) => path.endsWith(".md"));
  for (const path of paths.map((each) => `docs/${each}`)) {
    const text = (await read(path)).replaceAll(/```[\s\S]*?```/g, "");
    for (const [, target = ""] of text.matchAll(/\]\(([^()\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      links += 1;
      const [file = "", anchor] = target.split("#");
      const place = file === "" ? path : join(dirname(path), file);
      const found = await read(place).catch(async () =>
        (await readdir(join(packageRoot, place)).catch(() => undefined)) === undefined ? undefined : "",
      );
      const isThere =
        found !== undefined &&
        (anchor === undefined ||
          [...found.matchAll(/^#+ (.*)$/gm)].some(([, heading = ""]) => slug(heading) === anchor));
      if (!isThere) broken.push(`${path}: ${target}`);
    }
  }
  expect(broken).toEqual([]);
  expect(links).toBeGreaterThan(40);
});

test("importing: each command in the guides is parsed, and each importer has a page", async () => {
  const importers = importCommand.commands.map((command) => command.name());
  const named = new Set<string>();
  let commands = 0;
  const pages = (await readdir(join(packageRoot, "docs/importing"))).map((name) => `docs/importing/${name}`);
  for (const path of ["docs/importing.md", ...pages]) {
    for (const [, block = ""] of (await read(path)).matchAll(/```\n([\s\S]*?)```/g)) {
      for (const [, line = ""] of block.matchAll(/^insights import (.*?)(?: {2,}#.*)?$/gm)) {
        const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word ?? "");
        const command = importCommand.commands.find((each) => each.name() === words[0]);
        expect(command, line).toBeDefined();
        // A copy, so that no option stays set; it stores nothing.
        const parsed: string[] = [];
        const copy = new Command().exitOverride().argument("<file...>");
        for (const option of command?.options ?? []) copy.addOption(option);
        copy.action((files: string[]) => void parsed.push(...files));
        await copy.parseAsync(words.slice(1), { from: "user" });
        expect(parsed.length, line).toBeGreaterThan(0);
        named.add(words[0] ?? "");
        commands += 1;
      }
    }
  }
  expect(commands).toBeGreaterThan(12);
  expect(importers.filter((name) => name !== "segment" && !named.has(name))).toEqual([]);
  expect(pages.map((path) => basename(path, ".md")).toSorted()).toEqual(
    importers.filter((name) => name !== "segment").toSorted(),
  );
});
