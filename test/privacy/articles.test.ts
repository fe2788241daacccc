import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../../src/paths.ts";
import { testDatabase } from "../support/database.ts";

/*
 * docs/privacy.md maps articles of the law to functions and tests: what it names exists, and the columns that it names as kept are
 * those of the data map.
 */
const database = await testDatabase();
const text = await readFile(join(packageRoot, "docs/privacy.md"), "utf8");

/** The lines of the tables below a heading. */
const rowsBelow = (heading: string): string[] =>
  (text.split(new RegExp(`^## ${heading}$`, "m"))[1] ?? "")
    .split(/^## /m)[0]
    ?.split("\n")
    .filter((line) => line.startsWith("| ")) ?? [];

test("each table, column and function in it exists", async () => {
  const names = new Set(
    [...text.matchAll(/`((?:common|ml|privacy|track|analytics|recommend|monitor)\.[a-z_]+(?:\.[a-z_]+)?)/g)].map(
      ([, name = ""]) => name,
    ),
  );
  expect(names.size).toBeGreaterThan(50);
  expect(
    await database.rows(
      `select name
       from unnest($1::text[]) as name
       where to_regclass(split_part(name, '.', 1) || '.' || split_part(name, '.', 2)) is null
           and not exists (
             select from pg_catalog.pg_proc as procedure
             where procedure.pronamespace = to_regnamespace(split_part(name, '.', 1))
               and procedure.proname = split_part(name, '.', 2)
           )
         or split_part(name, '.', 3) <> ''
           and not exists (
             select from pg_catalog.pg_attribute as attribute
             where attribute.attrelid = to_regclass(split_part(name, '.', 1) || '.' || split_part(name, '.', 2))
               and attribute.attname = split_part(name, '.', 3)
           )
       order by name`,
      [[...names]],
    ),
  ).toEqual([]);
});

test("each test in it exists, and almost every article has one", () => {
  const files = [...text.matchAll(/`(test\/[\w/-]+\.test\.ts)`/g)].map(([, path = ""]) => path);
  expect(files.length).toBeGreaterThan(40);
  expect([...new Set(files)].filter((path) => !existsSync(join(packageRoot, path)))).toEqual([]);
  const rows = rowsBelow("Articles, functions and tests").filter((line) => /^\| (\d|COPPA)/.test(line));
  expect(rows.length).toBeGreaterThan(25);
  expect(rows.filter((line) => !line.includes("test/")).map((line) => line.split("|")[1]?.trim())).toEqual(["13, 14"]);
});

test("the columns that an erasure keeps are those of the data map", async () => {
  const kept = [
    ...rowsBelow("The erasure")
      .join("\n")
      .matchAll(/`([a-z_]+\.[a-z_]+\.[a-z_]+)`/g),
  ].map(([, name]) => name);
  const known = await database.rows<{ name: string }>(
    `select concat_ws('.', schema_name, table_name, column_name) as name from privacy.data_map
     where holds <> 'none' and erasure = 'kept'`,
  );
  expect([...new Set(kept)].sort()).toEqual(known.map(({ name }) => name).sort());
});
