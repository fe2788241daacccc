import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { withClient } from "../../src/database/connect.ts";
import { bootstrap, migrate } from "../../src/database/migrate.ts";
import { packageRoot } from "../../src/paths.ts";
import { testDatabase } from "../support/database.ts";

/*
 * The login that migrates is an administrator, often a superuser, and the schema public was writable for all users up
 * to PostgreSQL 14. A function there whose arguments match better than those of PostgreSQL's function of that name is
 * called instead of it.
 */

const database = await testDatabase({ empty: true });
const ran = (): Promise<number> =>
  database.value("select case when is_called then last_value else 0 end::int from public.ran");

beforeAll(async () => {
  await withClient(database.url(), bootstrap);
  await database.query(`
    grant create on schema public to public;
    set role insights_visitor;
    create sequence public.ran;
    grant all on public.ran to public;
    create function public.format(text, name) returns text language plpgsql as $$
    begin
      if current_user <> 'insights_visitor' then
        perform nextval('public.ran');
      end if;
      return pg_catalog.format($1, variadic array[$2]);
    end $$;
    create function public.format(text, text) returns text language sql as 'select public.format($1, $2::name)';
    reset role`);
});

test("the function is called instead of PostgreSQL's with such a search_path", async () => {
  await database.query("do $$ begin perform format('%I', current_database()); end $$");
  expect(await ran()).toBe(1);
});

test("not by the migration, which refuses it with a fix", async () => {
  const before = await ran();
  const fixes: string[] = [];
  for (;;) {
    const refused = await migrate(database.url()).catch(
      (error: unknown) => error as { message: string; hint?: string },
    );
    if (!("message" in refused)) break;
    expect(refused.message).toMatch(
      /every role may create functions in the schema "public"|has the name of a function/,
    );
    const [, fix = ""] = /As an administrator: (.*?); or give/.exec(refused.hint ?? "") ?? [];
    fixes.push(fix);
    await database.query(fix);
    expect(fixes.length).toBeLessThan(5);
  }
  expect(fixes).toEqual([
    "revoke create on schema public from public",
    expect.stringContaining("drop function public.format(text,"),
    expect.stringContaining("drop function public.format(text,"),
  ]);
  expect(await ran()).toBe(before);
});

test("nor by the roles script, which an administrator may run alone", async () => {
  await database.query(`grant create on schema public to insights_visitor; set role insights_visitor;
    create function public.format(text, name) returns text language plpgsql as $$
    begin perform nextval('public.ran'); return pg_catalog.format($1, variadic array[$2]); end $$;
    reset role`);
  const before = await ran();
  await database.query(await readFile(join(packageRoot, "src", "sql", "roles.sql"), "utf8"));
  expect(await ran()).toBe(before);
});
