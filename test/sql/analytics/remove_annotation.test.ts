import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("an author removes her own annotations, an administrator all", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    const as = (person: string) => db.query("select set_config('insights.person', $1, true)", [person]);
    const annotate = () => db.value<string>("select annotation_id from analytics.annotate('x', now())");
    const remove = "select analytics.remove_annotation($1)";

    await as("ada");
    const first = await annotate();
    const second = await annotate();
    expect(await db.value(remove, [first])).toBe(true);
    expect(await db.value(remove, [first])).toBe(false);

    await as("ben");
    await db.query("savepoint before");
    expect(await db.rejects(remove, [second])).toMatchObject({
      code: "CF005",
      message: `annotation ${second} is by ada`,
      hint: "Its author or an administrator can remove it.",
    });
    await db.query("rollback to before");
    await db.query("delete from analytics.annotation");
    expect(await db.value("select count(*)::int from analytics.annotation")).toBe(1);

    await db.query("set local role insights_admin");
    expect(await db.value(remove, [second])).toBe(true);
    expect(await db.value("select count(*)::int from analytics.annotation")).toBe(0);
    expect(await db.value("select analytics.remove_annotation(null)")).toBe(false);
  });
});

test("analysts, administrators and workers may call it", async () => {
  expect(await rolesThatMay(database, "select analytics.remove_annotation(1)")).toEqual(["analyst", "admin", "worker"]);
});
