import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("an analyst sees the queries of functions that she may execute", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query(
      `select analytics.save_query('at-risk', 'analytics.dropout_risk', '{"course": "algebra"}'),
         analytics.save_query('ada-in-algebra', 'analytics.course_journey', '{"course": "algebra", "person": "ada"}'),
         analytics.save_query('marks', 'analytics.annotations')`,
    );
    const names = async () =>
      (await db.rows<{ name: string }>("select name from analytics.saved_queries()")).map(({ name }) => name);
    const all = await names();
    expect(all).toEqual([...all].sort());
    expect(all).toEqual(expect.arrayContaining(["ada-in-algebra", "at-risk", "marks", "popular-courses"]));
    await db.query("set local role insights_analyst");
    expect(await names()).toEqual(all.filter((name) => !["ada-in-algebra", "at-risk"].includes(name)));
    for (const name of ["ada-in-algebra", "at-risk"]) {
      await db.query("savepoint before");
      expect(await db.rejects("select analytics.run_query($1)", [name])).toMatchObject({ code: "CF002" });
      await db.query("rollback to before");
    }
  });
});

test("the predefined queries are valid", async () => {
  const rows = await database.rows<{ statement: string }>(
    "select analytics.query_statement(name) as statement from analytics.saved_queries() where created_by = 'insights'",
  );
  expect(rows.length).toBeGreaterThanOrEqual(3);
});

test("analysts, administrators and workers may call it", async () => {
  expect(await rolesThatMay(database, "select * from analytics.saved_queries()")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
