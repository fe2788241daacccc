import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../src/paths.ts";
import { testDatabase } from "./support/database.ts";

const database = await testDatabase();

test("the templates for a table, its policies and a function run", async () => {
  const text = await readFile(join(packageRoot, "CONTRIBUTING.md"), "utf8");
  const [definition = "", table = "", policies = ""] = [...text.matchAll(/```sql\n(.*?)```/gs)].map(([, sql]) => sql);
  await database.as("insights_owner", {}, async (db) => {
    for (const sql of [table, policies, definition]) await db.query(sql);
    await db.query("set local role insights_admin");
    expect(await db.rejects("select track.bookmarked_items('curse')")).toMatchObject({
      code: "CF002",
      message: 'there is no item of kind "curse"',
    });
  });
});
