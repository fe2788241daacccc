import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

const statement = (query: string, given: object = {}) =>
  database.value<string>("select analytics.query_statement($1, $2)", [query, JSON.stringify(given)]);

test("is a call of the function with literals, in the order of its arguments", async () => {
  expect(
    await statement("analytics.trend", { until: "2026-03-01", event_name: 'O\'Hara \\ "x"', since: "-28 days" }),
  ).toBe(
    `select * from analytics.trend(event_name => E'O''Hara \\\\ "x"'::text, since => (now() - '28 days'::interval), ` +
      "until => '2026-03-01'::timestamp with time zone)",
  );
  expect(await statement("analytics.annotations")).toBe("select * from analytics.annotations()");
});

test("arguments replace those of a saved query", async () => {
  expect(await statement("popular-courses", { since: "P7D", top: 3 })).toBe(
    "select * from analytics.popular_courses(since => (now() - 'P7D'::interval), measure => 'people'::text, top => '3'::integer)",
  );
  expect(await database.value("select analytics.query_statement('popular-courses', null)")).toBe(
    "select * from analytics.popular_courses(since => (now() - '28 days'::interval), measure => 'people'::text)",
  );
});

test.each([
  ["popular-corses", {}, "CF002", 'there is no saved query "popular-corses"', 'The nearest name is "popular-courses".'],
  ["zzz", {}, "CF002", 'there is no saved query "zzz"', "analytics.saved_queries() returns all."],
  ["analytics.trends", {}, "CF002", '"analytics.trends" for', 'The nearest name is "analytics.trend".'],
  ["ml.zzz", {}, "CF002", '"ml.zzz" for', "analytics.query_functions() returns all."],
  ["pg_catalog.pg_sleep", {}, "CF002", '"pg_catalog.pg_sleep" for', expect.any(String)],
  ["track.ingest", { batch: [] }, "CF002", '"track.ingest" for', expect.any(String)],
  ["analytics._trend_exact", {}, "CF002", '"analytics._trend_exact" for', expect.any(String)],
  ["analytics.run_query", { query: "x" }, "CF002", '"analytics.run_query" for', expect.any(String)],
  ["analytics.trend(1); drop table x", {}, "CF002", 'drop table x" for', expect.any(String)],
  ["x".repeat(500), {}, "CF002", `"${"x".repeat(100)}"`, expect.any(String)],
  [
    "recommend.similar_items",
    { top: 1 },
    "CF001",
    "the query of recommend.similar_items has no item",
    expect.any(String),
  ],
  ["analytics.trend", { sinse: "now" }, "CF001", 'has no argument "sinse"', expect.stringContaining("since, until")],
  ["analytics.saved_queries", { a: 1 }, "CF001", 'has no argument "a"', "It has no arguments."],
  [
    "analytics.trend",
    { window_size: "x" },
    "CF001",
    'window_size of analytics.trend is "x"',
    expect.stringContaining("integer"),
  ],
  [
    "analytics.trend",
    { since: "soon" },
    "CF001",
    'since of analytics.trend is "soon"',
    expect.stringContaining("-28 days"),
  ],
  ["analytics.trend", { "a => 1); drop table x; --": 1 }, "CF001", "has no argument", expect.any(String)],
  ["analytics.trend", ["event_name"], "CF009", "the arguments are a JSON array", expect.any(String)],
  ["analytics.trend", { event_name: "x".repeat(8000) }, "CF008", "characters", expect.any(String)],
])("query_statement(%s, %j) is %s", async (query, given, code, message, hint) => {
  const error = await database.rejects("select analytics.query_statement($1, $2)", [query, JSON.stringify(given)]);
  expect(error).toMatchObject({ code, message: expect.stringContaining(message), hint });
});

test("a function that the caller may not execute is unknown to her", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    expect(
      await db.rejects("select analytics.query_statement('analytics.dropout_risk', '{\"course\": \"x\"}')"),
    ).toMatchObject({ code: "CF002" });
  });
});

test("analysts, administrators and workers may call it", async () => {
  expect(await rolesThatMay(database, "select analytics.query_statement('analytics.annotations')")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
