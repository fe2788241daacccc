import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("is the person of the token, or the login without one", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    expect(await db.value("select common.author() = session_user")).toBe(true);
    await db.query("select set_config('insights.person', 'ada', true)");
    expect(await db.value("select common.author()")).toBe("ada");
  });
});

test("a login that is not one of the API cannot claim to be another person", async ({ skip }) => {
  if (!database.native) skip("the embedded database has one login");
  const login = `reporting_${process.pid}`;
  await database.query(`create role ${login} in role insights_analyst`);
  try {
    await database.as("postgres", {}, async (db) => {
      await db.query(
        "create function track.author_in_a_definer() returns text language sql security definer return common.author()",
      );
      await db.query("grant execute on function track.author_in_a_definer() to insights_analyst");
      await db.query(`set local session authorization ${login}`);
      await db.query("select set_config('insights.person', 'ada', true)");
      expect(await db.value("select common.author()")).toBe(login);
      // Logs are written by definers, for which the login is the same.
      expect(await db.value("select track.author_in_a_definer()")).toBe(login);
    });
  } finally {
    await database.query(`drop role ${login}`);
  }
});

test("analysts, administrators and workers may call it", async () => {
  expect(await rolesThatMay(database, "select common.author()")).toEqual(["analyst", "admin", "worker"]);
});
