import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

// A definer of insights_reader, as the functions for instructors.
await database.query(`
  create function public.ask() returns boolean language sql stable security definer as 'select track.reads_all_people()';
  alter function public.ask() owner to insights_reader`);

test.each([
  ["admin", true],
  ["worker", true],
  ["reader", true],
  ["owner", true],
  ["analyst", false],
  ["instructor", false],
  ["learner", false],
  ["visitor", false],
  ["api", false],
])("%s: %s", async (role, expected) => {
  await database.as(`insights_${role}`, {}, async (db) => {
    await db.query("set local search_path to pg_catalog");
    expect(await db.value("select public.ask()")).toBe(expected);
  });
});

test("a login without a role of its own has what its memberships give, and loses it with the role it switches to", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`
      create role reads_all_people_login login in role insights_instructor;
      create role reads_all_people_admin login in role insights_instructor, insights_admin;
      grant usage on schema public to public`);
    await db.query("set local role reads_all_people_login");
    expect(await db.value("select public.ask()")).toBe(false);
    await db.query("reset role");
    await db.query("set local role reads_all_people_admin");
    expect(await db.value("select public.ask()")).toBe(true);
    await db.query("set local role insights_instructor");
    expect(await db.value("select public.ask()")).toBe(false);
  });
});

test("is for no role of the API", async () => {
  expect(await rolesThatMay(database, "select track.reads_all_people()")).toEqual([]);
});
