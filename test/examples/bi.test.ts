import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../../src/paths.ts";
import { testDatabase } from "../support/database.ts";
import { makeRecentUse } from "../support/recent.ts";

/* The statements of docs/bi.md, with the macros and variables of the tools as these write them. */
const database = await testDatabase();
await makeRecentUse(database);

const guide = readFileSync(join(packageRoot, "docs/bi.md"), "utf8");
const [login = "", ...statements] = [...guide.matchAll(/```sql\n(.*?)```/gs)].map(([, sql = ""]) => sql);
const name = `bi_${process.pid}`;

const at = (days: number): string => new Date(Date.now() + days * 86_400_000).toISOString().replace(/\.\d+/, "");

function expand(sql: string): string {
  const expanded = sql
    .replace(/\$__timeFilter\((\w+)\)/g, `$1 BETWEEN '${at(-60)}' AND '${at(0)}'`)
    .replaceAll("$__timeFrom()", `'${at(-60)}'`)
    .replaceAll("$__timeTo()", `'${at(0)}'`)
    .replace(/\$\{event:sqlstring\}/g, "'Task Submitted'")
    .replaceAll("{{since}}", `date '${at(-28).slice(0, 10)}'`)
    .replaceAll("{{until}}", `date '${at(0).slice(0, 10)}'`);
  expect(expanded, "a macro that the test does not know").not.toMatch(/\$__|\$\{|\{\{/);
  return expanded;
}

test("the statements of the guide run as its login, and read something", async () => {
  expect(statements.length).toBeGreaterThanOrEqual(8);
  await database.as("postgres", {}, async (db) => {
    await db.query(login.replace(/\bbi\b/g, name));
    const settings = await db.rows<{ setting: string }>(
      `select unnest(setconfig) as setting from pg_db_role_setting where setrole = '${name}'::regrole`,
    );
    expect(settings.map(({ setting }) => setting)).toContain("default_transaction_read_only=on");
    for (const { setting } of settings) {
      const [, key = "", value = ""] = /^(.*?)=(.*)$/.exec(setting) ?? [];
      await db.query("select set_config($1, $2, true)", [key, value]);
    }
    await db.query(`set local role ${name}`);
    for (const sql of statements) {
      expect((await db.rows(expand(sql))).length, sql).toBeGreaterThan(0);
    }
    for (const denied of ["track.event", "track.person", "track.session", "analytics.item_popularity"]) {
      await db.query("savepoint before");
      expect(await db.rejects(`select from ${denied}`), denied).toMatchObject({ code: "42501" });
      await db.query("rollback to before");
    }
  });
});

test("the guide names each view", async () => {
  const views = await database.rows<{ name: string }>(
    "select relname as name from pg_class where relnamespace = 'analytics'::regnamespace and relkind = 'v'",
  );
  expect(views.length).toBeGreaterThanOrEqual(5);
  for (const view of views) expect(guide).toContain(`| \`${view.name}\` |`);
});
