import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("an author deletes her views, an administrator those that are shared", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    const be = (person: string) => db.query("select set_config('insights.person', $1, true)", [person]);
    await be("ada");
    const shared = await db.value("select view_id from analytics.save_view('shared', '/explore', true)");
    const kept = await db.value("select view_id from analytics.save_view('private', '/explore')");
    const own = await db.value("select view_id from analytics.save_view('own', '/explore')");
    expect(await db.value("select analytics.delete_view($1)", [own])).toBe(true);
    expect(await db.value("select analytics.delete_view($1)", [own])).toBe(false);
    expect(await db.value("select analytics.delete_view(null)")).toBe(false);

    await be("ben");
    await db.query("savepoint before");
    expect(await db.rejects("select analytics.delete_view($1)", [shared])).toMatchObject({ code: "CF005" });
    await db.query("rollback to before");
    expect(await db.value("select analytics.delete_view($1)", [kept])).toBe(false);

    await db.query("set local role insights_admin");
    expect(await db.value("select analytics.delete_view($1)", [shared])).toBe(true);
    expect(await db.value("select analytics.delete_view($1)", [kept])).toBe(false);
    await db.query("set local role insights_analyst");
    await be("ada");
    expect(await db.rows("select name from analytics.saved_views()")).toEqual([{ name: "private" }]);
  });
});

test("analysts and administrators may call it", async () => {
  expect(await rolesThatMay(database, "select analytics.delete_view(1)")).toEqual(["analyst", "admin"]);
});
