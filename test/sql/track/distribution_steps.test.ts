import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

interface Step {
  action: string;
  relation: string;
  detail: string | null;
  statement: string;
}

const references = `
  select conrelid::regclass::text as relation, conname as name, pg_get_constraintdef(oid) as definition
  from pg_constraint
  where contype = 'f' and conparentid = 0
    and conrelid in (select to_regclass(format('%I.%I', schema_name, table_name)) from track.distribution)
  order by 1, 2`;

test("on a server without Citus, everything is left to do: each table of the list, the tables of others before them", async () => {
  const steps = await database.rows<Step>("select * from track.distribution_steps() where action = 'distribute'");
  const listed = await database.rows<{ name: string; beside: string | null }>(
    "select format('%s.%s', schema_name, table_name) as name, colocated_with as beside from track.distribution",
  );
  expect(steps.map(({ relation }) => relation).toSorted()).toEqual(listed.map(({ name }) => name).toSorted());
  const place = (name: string): number => steps.findIndex(({ relation }) => relation === name);
  for (const { name, beside } of listed) if (beside !== null) expect(place(beside)).toBeLessThan(place(name));
});

test("a foreign key to a table that stays is dropped, and restored as it was", async () => {
  await database.as("insights_owner", {}, async (db) => {
    const before = await db.rows(references);
    expect(before.length).toBeGreaterThan(5);
    const dropped = await db.rows<Step>("select * from track.distribution_steps() where action = 'drop foreign key'");
    for (const { statement } of dropped) await db.query(statement);
    expect(await db.rows(references)).toEqual([]);
    expect(await db.rows("select from track.distribution_steps() where action = 'drop foreign key'")).toEqual([]);
    for (const { statement } of await db.rows<Step>("select * from track.distribution_steps(true)")) {
      await db.query(statement);
    }
    expect(await db.rows(references)).toEqual(before);
    expect(await db.value("select count(*)::int from track.dropped_reference")).toBe(0);
  });
});

test("plans for all values are given up on tables of the list, and taken up again", async () => {
  const once = `
    select count(*)::int from pg_proc
    where proconfig @> '{plan_cache_mode=force_generic_plan}' and oid in (
      select (regexp_match(statement, '^alter function (.*) set '))[1]::regprocedure from track.distribution_steps()
      where action = 'plan for each execution')`;
  await database.as("insights_owner", {}, async (db) => {
    const count = await db.value<number>(once);
    expect(count).toBeGreaterThan(5);
    for (const { statement } of await db.rows<Step>(
      "select * from track.distribution_steps() where action = 'plan for each execution'",
    )) {
      await db.query(statement);
    }
    expect(await db.value(once)).toBe(0);
    for (const { statement } of await db.rows<Step>("select * from track.distribution_steps(true)")) {
      await db.query(statement);
    }
    expect(await db.value(once)).toBe(count);
  });
});

test("undo is true or false", async () => {
  expect(await database.rejects("select track.distribution_steps(null)")).toMatchObject({ code: "CF001" });
});

test("is for those who operate the installation", async () => {
  expect(await rolesThatMay(database, "select * from track.distribution_steps()")).toEqual(["admin", "worker"]);
});
