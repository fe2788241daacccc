import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
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
