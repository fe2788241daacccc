import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

const be = (db: Queries, person: string, role = "insights_analyst") =>
  db.query("select set_config('insights.person', $1, true), set_config('role', $2, true)", [person, role]);
const save = (name: string, given: object, functionName = "analytics.popular_items") => [
  "select * from analytics.save_query($1, $2, $3)",
  [name, functionName, JSON.stringify(given)],
];

/** The error of a statement, after which the transaction continues. */
async function refused(db: Queries, sql: string, values?: unknown[]): Promise<unknown> {
  await db.query("savepoint before");
  const error = await db.rejects(sql, values);
  await db.query("rollback to before");
  return error;
}

test("an author replaces her query, an administrator every query, and no other analyst", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    await be(db, "ada");
    const [first] = await db.rows(
      "select * from analytics.save_query('top-pages', 'analytics.popular_items', '{\"kind\": \"page\"}', ' Pages. ')",
    );
    expect(first).toMatchObject({
      name: "top-pages",
      function_name: "analytics.popular_items",
      arguments: { kind: "page" },
      created_by: "ada",
      description: "Pages.",
    });
    const [sql, values] = save("top-pages", { kind: "task" }) as [string, unknown[]];
    expect(await db.rows(sql, values)).toMatchObject([
      { arguments: { kind: "task" }, created_by: "ada", description: null },
    ]);

    await be(db, "ben");
    expect(await refused(db, sql, values)).toMatchObject({
      code: "CF005",
      message: 'the query "top-pages" is by another author',
    });
    await db.query("update analytics.saved_query set description = 'changed'");
    expect(await refused(db, "update analytics.saved_query set created_by = 'ben'")).toMatchObject({ code: "42501" });
    expect(
      await refused(
        db,
        "insert into analytics.saved_query (name, function_name, created_by) values ('x', 'analytics.trend', 'ada')",
      ),
    ).toMatchObject({ code: "42501" });
    expect(await db.value("select count(*)::int from analytics.saved_query where description = 'changed'")).toBe(0);

    await be(db, "root", "insights_admin");
    expect(await db.rows(sql, [values[0], values[1], '{"kind": "quiz"}'])).toMatchObject([
      { arguments: { kind: "quiz" }, created_by: "ada" },
    ]);
  });
});

test.each([
  ["null, 'analytics.trend'", "CF001", 'the name is "null"'],
  ["'Top', 'analytics.trend'", "CF001", 'the name is "Top"'],
  ["'a.b', 'analytics.trend'", "CF001", 'the name is "a.b"'],
  ["repeat('x', 64), 'analytics.trend'", "CF001", "the name is"],
  ["'x', null", "CF001", 'function_name is "null"'],
  ["'x', 'popular-courses'", "CF001", 'function_name is "popular-courses"'],
  ["'x', 'analytics.popular_item'", "CF002", "analytics.popular_item"],
  ["'x', 'recommend.similar_items'", "CF001", "has no item"],
  ["'x', 'analytics.popular_items', '{\"top\": \"many\"}'", "CF001", 'top of analytics.popular_items is "many"'],
  ["'x', 'analytics.popular_items', '[]'", "CF009", "JSON array"],
  ["'x', 'analytics.popular_items', '{}', repeat('x', 2001)", "CF008", "2001 characters"],
])("save_query(%s) is %s", async (values, code, message) => {
  const error = await database.rejects(`select analytics.save_query(${values})`);
  expect(error).toMatchObject({ code, message: expect.stringContaining(message), hint: expect.any(String) });
});

test("the arguments of a query that a table takes directly are checked when it runs", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    await be(db, "ada");
    await db.query(
      `insert into analytics.saved_query (name, function_name, arguments, created_by)
       values ('x', 'analytics.trend', '{"event_name": "x", "since) or (true": 1}', 'ada')`,
    );
    expect(await refused(db, "select analytics.run_query('x')")).toMatchObject({ code: "CF001" });
  });
});

test("analysts cannot store a query of a function that they may not execute, or a very long one", async () => {
  const insert = "insert into analytics.saved_query (name, function_name, arguments, created_by) values";
  await database.as("insights_analyst", {}, async (db) => {
    await be(db, "ada");
    expect(await refused(db, `${insert} ('x', 'track.journey', '{}', 'ada')`)).toMatchObject({ code: "42501" });
  });
  await database.as("insights_analyst", {}, async (db) => {
    await be(db, "ada");
    const long = `jsonb_build_object('event_name', repeat('x', 8000))`;
    expect(await refused(db, `${insert} ('x', 'analytics.trend', ${long}, 'ada')`)).toMatchObject({ code: "23514" });
  });
});

test("analysts, administrators and workers may call it", async () => {
  expect(await rolesThatMay(database, "select analytics.save_query('x', 'analytics.popular_items')")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
