import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("returns the functions that the caller may execute and that only read, with their arguments", async () => {
  const names = (role: string) =>
    database.as(role, {}, async (db) => {
      const rows = await db.rows<{ name: string }>("select function_name as name from analytics.query_functions()");
      return rows.map(({ name }) => name);
    });
  const analyst = await names("insights_analyst");
  const admin = await names("insights_admin");
  expect(analyst).toEqual(expect.arrayContaining(["analytics.trend", "analytics.popular_items"]));
  expect(admin).toEqual(expect.arrayContaining(["analytics.trend", "analytics.dropout_risk"]));
  expect(analyst).not.toContain("analytics.dropout_risk");
  for (const name of [...analyst, ...admin]) {
    // Functions that write, that resolve names or expressions, that are private or not in the API.
    expect(name).not.toMatch(/\._|^ml\.|^common\.|ingest|train|refresh|\.track\.person_bit|run_query|query_statement/);
  }

  const [outlook] = await database.rows(
    "select * from analytics.query_functions() where function_name = 'analytics.course_outlook'",
  );
  expect(outlook).toEqual({
    function_name: "analytics.course_outlook",
    argument_names: ["target", "as_of"],
    argument_types: ["text", "timestamp with time zone"],
    required_count: 0,
    description: expect.stringMatching(/^[A-Z][^@\n]+$/),
  });
});

test("no function that analysts can query takes a person", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    const rows = await db.rows(
      `select function_name, argument_names from analytics.query_functions()
       where argument_names && array['person', 'person_id', 'people', 'identity', 'user_id']`,
    );
    expect(rows).toEqual([]);
  });
});

test("analysts, administrators and workers may call it", async () => {
  expect(await rolesThatMay(database, "select * from analytics.query_functions()")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
