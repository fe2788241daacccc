import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("an author drops her queries, an administrator all", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    const be = (person: string) => db.query("select set_config('insights.person', $1, true)", [person]);
    await be("ada");
    await db.query("select analytics.save_query(name, 'analytics.annotations') from unnest(array['a', 'b']) as name");
    expect(await db.value("select analytics.drop_query('a')")).toBe(true);
    expect(await db.value("select analytics.drop_query('a')")).toBe(false);
    expect(await db.value("select analytics.drop_query(null)")).toBe(false);

    await be("ben");
    await db.query("savepoint before");
    expect(await db.rejects("select analytics.drop_query('b')")).toMatchObject({
      code: "CF005",
      message: 'the query "b" is by another author',
      hint: expect.any(String),
    });
    await db.query("rollback to before");
    await db.query("delete from analytics.saved_query");
    expect(await db.value("select count(*)::int from analytics.saved_query where name = 'b'")).toBe(1);

    await db.query("set local role insights_admin");
    expect(await db.value("select analytics.drop_query('b')")).toBe(true);
  });
});

test("analysts, administrators and workers may call it", async () => {
  expect(await rolesThatMay(database, "select analytics.drop_query('x')")).toEqual(["analyst", "admin", "worker"]);
});
