import { expect, test } from "vitest";
import { testDatabase } from "./database.ts";

const database = await testDatabase();
// Written to the files, before another copy of them is opened.
await database.query("create table public.mine (number int)");
await database.query("checkpoint");
const later = await testDatabase();

test("a query answers with rows and with single values", async () => {
  expect(await database.rows("select 1 as a, 'x' as b")).toEqual([{ a: 1, b: "x" }]);
  expect(await database.value("select $1::int + 1", [41])).toBe(42);
});

test("a role applies to one transaction, which leaves no state", async () => {
  const seen = await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
    const error = await db.rejects("select 1 / 0");
    expect(error.code).toBe("22012");
    return (await db.rows("select current_user as role, current_setting('insights.person') as person"))[0];
  });
  expect(seen).toEqual({ role: "insights_learner", person: "ada" });
  expect(await database.value("select current_user")).not.toBe("insights_learner");
});

test("a statement that should fail and succeeds is a failure", async () => {
  await expect(database.rejects("select 1")).rejects.toThrow("expected an error");
});

test("a copy of the template has nothing of another one, opened before or later", async () => {
  await later.query("create table public.hers (number int)");
  await later.query("checkpoint");
  const tables = "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'";
  expect(await database.rows(tables)).toEqual([{ name: "mine" }]);
  expect(await later.rows(tables)).toEqual([{ name: "hers" }]);
});
