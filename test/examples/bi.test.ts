import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { packageRoot } from "../../src/paths.ts";
import { testDatabase } from "../support/database.ts";
import { makeRecentUse } from "../support/recent.ts";

/* The statements of docs/bi.md and of the board of Grafana, with the macros and variables of the tools as these write them. */
const database = await testDatabase();
await makeRecentUse(database);

const guide = readFileSync(join(packageRoot, "docs/bi.md"), "utf8");
const [login = "", ...statements] = [...guide.matchAll(/```sql\n(.*?)```/gs)].map(([, sql = ""]) => sql);
/** The part of Grafana's dashboard model that the board uses. */
const datasource = z.object({
  type: z.literal("grafana-postgresql-datasource"),
  uid: z.string().regex(/^\$\{datasource\}$/),
});
const target = z.object({
  refId: z.string(),
  format: z.enum(["time_series", "table"]),
  rawQuery: z.literal(true),
  rawSql: z.string().startsWith("select"),
});
const board = z
  .object({
    uid: z.string().max(40),
    title: z.string(),
    schemaVersion: z.int().min(36),
    time: z.object({ from: z.string(), to: z.string() }),
    annotations: z.object({ list: z.array(z.looseObject({ name: z.string(), datasource, target })) }),
    templating: z.object({
      list: z.array(z.looseObject({ name: z.string(), type: z.enum(["datasource", "query"]), query: z.string() })),
    }),
    panels: z.array(
      z.looseObject({
        id: z.int(),
        title: z.string(),
        description: z.string().min(1),
        type: z.enum(["timeseries", "table"]),
        datasource,
        gridPos: z.object({ x: z.int(), y: z.int(), w: z.int(), h: z.int() }),
        targets: z.array(z.looseObject({ datasource, ...target.shape })).length(1),
      }),
    ),
  })
  .loose()
  .parse(JSON.parse(readFileSync(join(packageRoot, "docs/grafana/learning.json"), "utf8")));
const ofBoard = [
  ...board.panels.flatMap(({ targets }) => targets.map(({ rawSql }) => rawSql)),
  ...board.annotations.list.map((annotation) => annotation.target.rawSql),
  ...board.templating.list.filter(({ type }) => type === "query").map(({ query }) => query),
];

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
    for (const sql of [...statements, ...ofBoard]) {
      expect((await db.rows(expand(sql))).length, sql).toBeGreaterThan(0);
    }
    for (const denied of ["track.event", "track.person", "track.session", "analytics.item_popularity"]) {
      await db.query("savepoint before");
      expect(await db.rejects(`select from ${denied}`), denied).toMatchObject({ code: "42501" });
      await db.query("rollback to before");
    }
  });
});

test("the board of Grafana has panels that do not overlap, and time series with a column time", () => {
  expect(new Set(board.panels.map(({ id }) => id)).size).toBe(board.panels.length);
  const cells = board.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, index) => `${x + (index % w)} ${y + Math.floor(index / w)}`),
  );
  expect(new Set(cells).size).toBe(cells.length);
  for (const { gridPos, type, targets } of board.panels) {
    expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
    expect([type, targets[0]?.format]).toEqual([type, type === "table" ? "table" : "time_series"]);
    if (type === "timeseries") expect(targets[0]?.rawSql).toMatch(/\bas time\b.*order by 1/s);
  }
});

test("the guide names each view", async () => {
  const views = await database.rows<{ name: string }>(
    "select relname as name from pg_class where relnamespace = 'analytics'::regnamespace and relkind = 'v'",
  );
  expect(views.length).toBeGreaterThanOrEqual(5);
  for (const view of views) expect(guide).toContain(`| \`${view.name}\` |`);
});
