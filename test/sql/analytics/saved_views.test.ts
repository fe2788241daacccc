import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("returns the views of a board in their places, or all", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    await db.query(`
      select analytics.save_view('b', '/explore', board => 'Term', board_position => 2),
        analytics.save_view('c', '/explore', board => 'Term', board_position => 1),
        analytics.save_view('a', '/explore')`);
    const names = async (call: string) =>
      (await db.rows<{ name: string }>(`select name from ${call}`)).map(({ name }) => name);
    expect(await names("analytics.saved_views('Term')")).toEqual(["c", "b"]);
    expect(await names("analytics.saved_views()")).toEqual(["c", "b", "a"]);
    expect(await names("analytics.saved_views('other')")).toEqual([]);
  });
});

test("analysts and administrators may call it", async () => {
  expect(await rolesThatMay(database, "select analytics.saved_views()")).toEqual(["analyst", "admin"]);
});
