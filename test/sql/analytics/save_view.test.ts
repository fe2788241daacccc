import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("a view is private until it is shared, and only its author or an administrator changes it", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    const be = (person: string) => db.query("select set_config('insights.person', $1, true)", [person]);
    const seen = () => db.rows("select name, created_by from analytics.saved_views()");
    await be("ada");
    const id = await db.value("select view_id from analytics.save_view('Funnel', '/explore?view=funnel&step1=A%20B')");
    expect(await seen()).toEqual([{ name: "Funnel", created_by: "ada" }]);

    await be("ben");
    expect(await seen()).toEqual([]);
    await db.query("savepoint before");
    const change = "select analytics.save_view('Mine', '/explore', view_id => $1)";
    expect(await db.rejects(change, [id])).toMatchObject({
      code: "CF002",
      message: expect.stringContaining("private"),
    });
    await db.query("rollback to before");
    await db.query("set local role insights_admin");
    expect(await seen()).toEqual([]);

    await db.query("set local role insights_analyst");
    await be("ada");
    await db.query("select analytics.save_view('Funnel', '/explore?view=funnel', true, 'Term', 2, $1)", [id]);
    await be("ben");
    expect(await seen()).toEqual([{ name: "Funnel", created_by: "ada" }]);
    await db.query("savepoint before");
    expect(await db.rejects(change, [id])).toMatchObject({ code: "CF005" });
    await db.query("rollback to before");
    await db.query("update analytics.saved_view set name = 'taken'");
    expect(await seen()).toEqual([{ name: "Funnel", created_by: "ada" }]);
    expect(
      await db.rejects("insert into analytics.saved_view (name, address, created_by) values ('x', '/explore', 'ada')"),
    ).toMatchObject({ code: "42501" });
    await db.query("rollback to before");

    await db.query("set local role insights_admin");
    await db.query("select analytics.save_view('Renamed', '/explore', true, view_id => $1)", [id]);
    expect(await seen()).toEqual([{ name: "Renamed", created_by: "ada" }]);
  });
});

test.each([
  ["null, '/explore'", "CF001"],
  ["'  ', '/explore'", "CF001"],
  ["'x', null", "CF001"],
  ["'x', 'https://example.org/'", "CF001"],
  ["'x', '//example.org/'", "CF001"],
  ["'x', '/explore?p%65rson=ada'", "CF001"],
  ["'x', '/explore?view=timeline&person=ada'", "CF005"],
  ["repeat('x', 201), '/explore'", "CF008"],
  ["'x', '/explore?a=' || repeat('x', 4000)", "CF008"],
  ["'x', '/explore', board => repeat('x', 101)", "CF008"],
])("save_view(%s) is refused", async (values, code) => {
  await database.as("insights_analyst", {}, async (db) => {
    expect(await db.rejects(`select analytics.save_view(${values})`)).toMatchObject({
      code,
      hint: expect.any(String),
    });
  });
});

test("an author has at most 1,000 views", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    await db.query("select analytics.save_view('x', '/explore') from generate_series(1, 1000)");
    expect(await db.rejects("select analytics.save_view('x', '/explore')")).toMatchObject({ code: "CF008" });
  });
});

test("analysts and administrators may call it", async () => {
  expect(await rolesThatMay(database, "select analytics.save_view('x', '/explore')")).toEqual(["analyst", "admin"]);
});
